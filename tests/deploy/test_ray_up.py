"""The autoscaler's configuration, read by Ray itself."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "cluster/deploy/ray-up.yaml").read_text()


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return yaml.safe_load(TEXT)


def test_ray_takes_it(config):
    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    assert prepared["available_node_types"]["head"]["max_workers"] == 0


def test_ray_would_refuse_a_field_that_it_does_not_know(config):
    with pytest.raises(Exception, match="Additional properties are not allowed"):
        validate_config(prepare_config({**copy.deepcopy(config), "max_wrokers": 8}))


def test_the_head_is_on_demand_and_computes_nothing(config):
    head = config["available_node_types"][config["head_node_type"]]
    assert head["resources"] == {"CPU": 0, "GPU": 0}
    assert "InstanceMarketOptions" not in head["node_config"]
    (start,) = [line for line in config["head_start_ray_commands"] if "--head" in line]
    assert "--num-cpus=0" in start and "--num-gpus=0" in start


def test_workers_are_on_spot_and_go_away_when_idle(config):
    worker = config["available_node_types"]["spot-gpu"]
    assert worker["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert worker["resources"]["GPU"] >= 1
    assert (worker["min_workers"], worker["max_workers"]) == (0, config["max_workers"])
    assert config["idle_timeout_minutes"] <= 10


def test_the_cluster_asks_for_a_token_and_the_dashboard_listens_on_loopback(config):
    assert "~/.ray/auth_token" in config["file_mounts"]
    assert "RAY_AUTH_MODE=token" in " ".join(config["setup_commands"])
    (start,) = [line for line in config["head_start_ray_commands"] if "--head" in line]
    assert "--dashboard-host=127.0.0.1" in start
    assert "0.0.0.0" not in TEXT


def test_no_credential_is_written_down():
    assert not re.search(
        r"(?i)AKIA|ASIA|secret_access_key|access_key_id|auth_token: [0-9a-f]", TEXT
    )
