"""What is replaced in Ray while its own node starts, and that everything comes back."""

from __future__ import annotations

import inspect
import os
import sys
from types import SimpleNamespace
from typing import Any

from ray._private import node, parameter, services, utils

from videogen_cluster import own_node
from videogen_cluster.own_node import few_processes, own_session


def test_a_node_of_our_own_starts_no_monitor_and_no_dashboard():
    names = ((parameter, "RayParams"), (node.Node, "start_api_server"))
    before = [getattr(owner, name) for owner, name in names]
    dependency_error = utils.get_dashboard_dependency_error
    with few_processes():
        params = parameter.RayParams(num_cpus=3)
        assert (params.num_cpus, params.no_monitor, params.include_log_monitor) == (3, True, False)
        assert isinstance(utils.get_dashboard_dependency_error(), ImportError)
        start: Any = node.Node.start_api_server
        assert start(SimpleNamespace(), include_dashboard=False, raise_on_failure=True) is None
    assert [getattr(owner, name) for owner, name in names] == before
    assert utils.get_dashboard_dependency_error is dependency_error
    assert parameter.RayParams(num_cpus=3).no_monitor is False


def test_this_ray_has_what_is_replaced():
    """A new Ray may lose a name; starts would be slower then, and nobody would notice."""
    assert own_node._UNUSED.keys() <= inspect.signature(parameter.RayParams).parameters.keys()
    assert inspect.isfunction(node.Node.start_api_server)
    assert inspect.isfunction(utils.get_dashboard_dependency_error)


def test_a_ray_that_lost_a_name_is_left_as_it_is():
    owner = SimpleNamespace()
    with own_node._replaced(owner, "gone", lambda _: 1):
        assert not hasattr(owner, "gone")

    class OtherParams:
        def __init__(self, num_cpus: int) -> None:
            self.num_cpus = num_cpus

    assert own_node._without_monitors(OtherParams)(num_cpus=2).num_cpus == 2


def test_rays_processes_start_in_sessions_of_their_own():
    with own_session():
        process = services.ConsolePopen([sys.executable, "-c", ""])
        assert os.getsid(process.pid) != os.getsid(0)
        process.wait()
    process = services.ConsolePopen([sys.executable, "-c", ""])
    assert os.getsid(process.pid) == os.getsid(0)
    process.wait()
