"""What earlier runs left on a cluster is told from what runs now, by looking at a real one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from videogen_cluster.inspection import inspect_cluster
from videogen_cluster.leftovers import find_holdings
from videogen_cluster.session import Cluster

pytestmark = pytest.mark.cluster

LEAVE_A_GROUP = """
import sys, ray
from ray.util.placement_group import placement_group
ray.init(address=sys.argv[1], log_to_driver=False)
group = placement_group([{"CPU": 0.01}], name="videogen-gang-7-0", lifetime="detached")
ray.get(group.ready())
"""


def test_a_group_whose_job_has_ended_is_leaked_and_ours_is_not(cluster: Cluster):
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    address = ray.get_runtime_context().gcs_address
    subprocess.run([sys.executable, "-c", LEAVE_A_GROUP, address], check=True, timeout=60)
    mine = placement_group([{"CPU": 0.01}], name="videogen-gang-0-0")
    strangers = placement_group([{"CPU": 0.01}], name="of-somebody-else")
    ray.get([mine.ready(), strangers.ready()])
    try:
        found = {holding.name: holding.leaked for holding in find_holdings()}
        assert found == {"videogen-gang-7-0": True, "videogen-gang-0-0": False}

        report = inspect_cluster(address, 60.0)
        assert (report.kind, report.nodes, report.cpus) == ("cluster", 1, 4.0)
        assert {h.name: h.leaked for h in report.holdings or []} == found
    finally:
        for group in (mine, strangers, _leaked_group()):
            remove_placement_group(group)
    assert find_holdings() == []


def _leaked_group():
    from ray import PlacementGroupID
    from ray.util import placement_group_table
    from ray.util.placement_group import PlacementGroup

    (identifier,) = (
        group["placement_group_id"]
        for group in placement_group_table().values()
        if group["name"] == "videogen-gang-7-0" and group["state"] != "REMOVED"
    )
    return PlacementGroup(PlacementGroupID.from_hex(identifier))
