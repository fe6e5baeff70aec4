"""The examples of configurations for clusters load, and say what their comments say."""

from __future__ import annotations

from pathlib import Path

import pytest

from videogen_pipelines.config import RunConfig, load_run_config

FOLDER = Path(__file__).parents[3] / "configs/cluster"
FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_it_loads_and_changes_something_about_the_cluster(file: Path):
    assert load_run_config(file) != RunConfig() or file.name == "ray.yaml"


def test_an_autoscaled_cluster_is_asked_for_gpus_and_a_number_of_gangs():
    config = load_run_config(FOLDER / "autoscaled.yaml")
    assert config.model.device == "cuda"
    assert isinstance(config.cluster.gangs, int)
    assert config.cluster.cpus_per_rank


def test_a_cluster_of_ones_own_is_filled():
    assert load_run_config(FOLDER / "ray.yaml").cluster.gangs == "auto"
