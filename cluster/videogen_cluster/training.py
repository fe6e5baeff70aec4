"""A training loop on several workers, with Ray Train."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from videogen.errors import VideogenError
from videogen_cluster.session import ClusterError

CONTROLLER_CPUS = 0


class TrainingError(VideogenError):
    """The loop failed on a worker, more often than it may."""


def train_on_workers(
    loop: Callable[[dict[str, Any]], None],
    settings: Mapping[str, Any],
    workers: tuple[int, int],
    *,
    use_gpu: bool,
    max_failures: int,
) -> None:
    """Run `loop(settings)` on every worker at once, inside a `ray_session`.

    Workers find each other in torch's default process group. When one is lost, all start again, as
    many as there is room for; the loop goes on from what it stored.

    Args:
        loop: importable on the workers; keeps what must last in storage of its own.
        workers: fewest and most.
        max_failures: starts after the first one that may fail.

    Raises:
        ClusterError: the cluster has no room for the fewest workers.
        TrainingError: the loop failed too often; says why the last time.
    """
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    fewest, most = workers
    kind = "GPU" if use_gpu else "CPU"
    room = int(ray.cluster_resources().get(kind, 0))
    if room < fewest:
        raise ClusterError(
            f"workers: got {fewest} for a cluster of {room} {kind}s, expected one each. "
            f"Fix: use --workers {max(1, room)}, or a larger cluster."
        )
    with tempfile.TemporaryDirectory(prefix="vg-train-") as folder:
        trainer = TorchTrainer(
            loop,
            train_loop_config=dict(settings),
            torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=most if fewest == most else (fewest, most),
                use_gpu=use_gpu,
                resources_per_worker={kind: 1},
            ),
            run_config=RunConfig(
                name=Path(folder).name,
                storage_path=folder,
                failure_config=FailureConfig(max_failures=max_failures),
            ),
        )
        try:
            trainer.fit()
        except TrainingFailedError as error:
            raise TrainingError(_reason(error)) from error


def _reason(error: Exception) -> str:
    """What a worker said, without the layers around it."""
    failures = getattr(error, "worker_failures", None) or {}
    for failure in failures.values():
        cause = getattr(failure, "cause", failure)
        if isinstance(cause, VideogenError):
            return str(cause)
        lines = [line for line in str(cause).splitlines() if line.strip()]
        if lines:
            return f"a worker failed: {lines[-1].strip()}"
    return f"training failed: {error}"
