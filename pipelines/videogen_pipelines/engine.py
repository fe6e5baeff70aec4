"""Runs the items of a job on Ray: the one place where a program and the cluster meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from videogen.errors import ConfigError
from videogen_cluster.limits import Limits
from videogen_cluster.listener import Listener
from videogen_cluster.session import Cluster, ray_session
from videogen_cluster.workload import Workload
from videogen_pipelines.clip_workload import GenerateWorkload
from videogen_pipelines.config import RunConfig
from videogen_pipelines.job import Job

if TYPE_CHECKING:
    from videogen_cluster.placement import Layout

_DEVICES = {"auto": None, "cpu": False}

Items = Iterable[tuple[str, Mapping[str, Any]]]
Engine = Callable[[Job, Items, Listener], bool]
"""Makes items, tells the listener, and returns whether it was stopped with some left."""


def run_on_ray(job: Job, items: Items, listener: Listener) -> bool:
    """Make `items` on a Ray of our own, or on the cluster that the configuration names.

    Ctrl-C and SIGTERM let clips in flight finish for a few seconds.

    Raises:
        ConfigError: the cluster is smaller than the configuration asks for.
        ClusterError: Ray cannot be started or joined, or gangs keep failing.
    """
    return run_workload(GenerateWorkload(job.settings()), job.config, items, listener)


def run_workload(
    workload: Workload,
    config: RunConfig,
    items: Items,
    listener: Listener,
    max_gangs: int | None = None,
) -> bool:
    """Run any workload on the gangs that a configuration describes; see `run_on_ray`.

    Args:
        config: `model.device` and the section `cluster` count.
        max_gangs: for work of one core: where `cluster.gangs` is "auto", a gang for each core of
            the cluster, at most so many.
    """
    with ray_session(config.cluster.address) as cluster:
        if max_gangs is not None and config.cluster.gangs == "auto":
            gangs = max(1, min(max_gangs, int(cluster.cpus)))
            section = config.cluster.model_copy(update={"gangs": gangs})
            config = config.model_copy(update={"cluster": section})
        # Importing these imports Ray, which reads the environment that the session has set.
        from videogen_cluster.driver import Driver, EngineOptions
        from videogen_cluster.interrupts import drain_on_signal

        section = config.cluster
        limits = Limits(max_attempts=section.max_attempts, max_gang_deaths=section.max_gang_deaths)
        options = EngineOptions(limits, section.hang_timeout_s, section.setup_timeout_s)
        layout = _layout(config, cluster)
        driver = Driver(workload, layout, cluster, options, listener)
        with drain_on_signal(driver.stop):
            return driver.run(items).interrupted


def _layout(config: RunConfig, cluster: Cluster) -> Layout:
    from videogen_cluster.nodes import read_nodes
    from videogen_cluster.placement import Layout

    device = config.model.device
    gangs = config.cluster.gangs
    layout = Layout(
        world_size=config.cluster.gang.world_size,
        num_gangs=None if gangs == "auto" else gangs,
        cpus_per_rank=config.cluster.cpus_per_rank,
        use_gpus=_DEVICES.get(device, True),
    )
    # Machines may still join another's cluster; our own is all there will ever be.
    if cluster.is_own:
        if layout.use_gpus and cluster.gpus < 1:
            raise ConfigError(
                f"model.device: got '{device}', expected 'cpu' or 'auto', because this machine "
                "has no GPU. Fix: leave model.device out."
            )
        layout.check(read_nodes())
    return layout
