"""What is said about Ray and about the cluster at an address."""

from __future__ import annotations

from pathlib import Path

import pytest

from videogen_cluster.inspection import ClusterReport, RayReport
from videogen_cluster.leftovers import Holding
from videogen_pipelines.doctor import ray_cluster
from videogen_pipelines.doctor.ray_cluster import (
    check_cluster,
    check_dashboard,
    check_leftovers,
    check_token,
)


def joined(**values: object) -> ClusterReport:
    return ClusterReport("auto", "cluster", "2.60.0", **{"nodes": 2, "cpus": 8.0, **values})


def test_a_missing_dashboard_is_a_warning():
    assert check_dashboard(RayReport("2.60.0", None)).status == "ok"
    finding = check_dashboard(RayReport("2.60.0", "No module named 'aiohttp_cors'"))
    assert finding.status == "warning" and "ray[default]" in finding.fix


def test_a_cluster_says_what_it_has():
    finding = check_cluster(joined(gpus=4.0), "2.60.0")
    assert finding.status == "ok"
    assert "2 nodes, 8 CPUs, 4 GPUs" in finding.found
    assert check_cluster(joined(cpus=0.0), "2.60.0").status == "warning"


def test_a_job_server_must_have_the_same_ray():
    server = ClusterReport("http://127.0.0.1:8265", "job server", "2.59.0")
    assert check_cluster(server, "2.59.0").status == "ok"
    assert check_cluster(server, "2.60.0").status == "failed"


def test_leftovers_are_those_whose_job_has_ended():
    live = Holding("placement group", "videogen-gang-0-0", "02000000", leaked=False)
    dead = Holding("placement group", "videogen-gang-1-0", "01000000", leaked=True)
    assert check_leftovers(joined(holdings=[])).status == "ok"
    assert check_leftovers(joined(holdings=[live])).status == "ok"
    finding = check_leftovers(joined(holdings=[live, dead]))
    assert finding.status == "warning"
    assert "videogen-gang-1-0" in finding.found and "gang-0-0" not in finding.found
    assert check_leftovers(joined(holdings=None)).status == "skipped"


@pytest.mark.parametrize(
    "variables,has_file,status,words",
    [
        ({}, False, "ok", "token: none"),
        ({"RAY_AUTH_MODE": "token"}, False, "failed", "token: none"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "planted"}, False, "ok", "RAY_AUTH_TOKEN"),
        ({"RAY_AUTH_MODE": "token"}, True, "ok", "auth_token"),
    ],
)
def test_the_place_of_the_token_is_named_and_never_the_token(
    variables, has_file, status, words, tmp_path: Path, monkeypatch
):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    token = tmp_path / "auth_token"
    if has_file:
        token.write_text("planted")
    monkeypatch.setattr(ray_cluster, "TOKEN_FILE", token)
    finding = check_token()
    assert finding.status == status
    assert words in finding.found and "planted" not in finding.found
