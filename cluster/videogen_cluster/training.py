"""A training loop on several workers, with Ray Train."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from videogen.errors import VideogenError
from videogen_cluster.failures import POLICIES, classify
from videogen_cluster.session import ClusterError

CONTROLLER_CPUS = 0


class TrainingError(VideogenError):
    """The loop failed on a worker, more often than it may, or as it would every time."""


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
        max_failures: starts after the first one that may fail. There is none after an error that
            every try would meet again, such as a loss that is not finite.

    Raises:
        ClusterError: the cluster has no room for the fewest workers.
        TrainingError: the loop failed too often, or for good; says why the last time.
    """
    import ray
    from ray.train import RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    fewest, most = workers
    kind = "GPU" if use_gpu else "CPU"
    room = int(ray.cluster_resources().get(kind, 0))
    if room < fewest:
        raise ClusterError(
            f"workers: got {fewest} for a cluster of {room} {kind}s, expected one each. "
            f"Fix: use --workers {max(1, room)}, or a larger cluster."
        )

    def fit() -> None:
        with tempfile.TemporaryDirectory(prefix="vg-train-") as folder:
            TorchTrainer(
                loop,
                train_loop_config=dict(settings),
                torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
                scaling_config=ScalingConfig(
                    num_workers=most if fewest == most else (fewest, most),
                    use_gpu=use_gpu,
                    resources_per_worker={kind: 1},
                ),
                run_config=RunConfig(name=Path(folder).name, storage_path=folder),
            ).fit()

    fit_again(fit, TrainingFailedError, max_failures)


def fit_again(fit: Callable[[], None], failed: type[Exception], max_failures: int) -> None:
    """Call `fit` until it does not fail; Ray Train itself would repeat whatever failed.

    Args:
        failed: what `fit` raises when a worker fails; `worker_failures` says how each of them did.

    Raises:
        TrainingError: it failed `max_failures` times and once more, or as it would every time.
    """
    for left in reversed(range(max_failures + 1)):
        try:
            fit()
        except failed as error:
            if not left or any(_is_lasting(cause) for cause in _causes(error)):
                raise TrainingError(_reason(error)) from error
        else:
            return


def _is_lasting(cause: BaseException) -> bool:
    """Whether what failed so fails again: draws, data and weights are the same every time."""
    return POLICIES[classify(cause)].max_attempts is not None


def _causes(error: Exception) -> list[BaseException]:
    """What each worker that failed raised, without the layers around it."""
    failures = getattr(error, "worker_failures", None) or {}
    return [getattr(failure, "cause", failure) for failure in failures.values()]


def _reason(error: Exception) -> str:
    """What a worker said, or the last line of what was said of it; first those of this project."""
    causes = sorted(_causes(error), key=lambda cause: not isinstance(cause, VideogenError))
    for cause in causes:
        if isinstance(cause, VideogenError):
            return str(cause)
        lines = [line for line in str(cause).splitlines() if line.strip()]
        if lines:
            return f"a worker failed: {lines[-1].strip()}"
    return f"training failed: {error}"
