"""The programs of `train`: their output holds all that must last, so that they always go on."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videogen.config import load_dataclass, to_plain
from videogen.errors import ConfigError
from videogen.models.protocol import VideoModel
from videogen.storage import MissingKeyError, Storage, open_storage
from videogen.storage.temporary import temporary_folder
from videogen.training.loop import Hooks
from videogen.training.measured import Measured
from videogen.training.state import LOG_FILE
from videogen_pipelines.training.places import (
    Uploads,
    check_shards,
    run_folder,
    with_absolute,
    with_local,
)
from videogen_pipelines.training.stages import STAGES
from videogen_pipelines.training.validation import make_clips

LOCK = ".lock-train"
logger = logging.getLogger(__name__)
Report = Callable[[int, float], None]


@dataclass(frozen=True)
class TrainingJob:
    """What is trained, and where everything goes that must last.

    Attributes:
        stage: a name in `STAGES`.
        config: of that stage.
        out: a folder or an `s3://` address.
        validation_prompts: clips of these are made whenever a checkpoint is written.
    """

    stage: str
    config: Any
    out: str
    validation_prompts: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON types only, and places that workers in other folders find; `of` is the inverse."""
        return {
            "stage": self.stage,
            "config": to_plain(with_absolute(self.config, STAGES[self.stage].places)),
            "out": self.out,
            "validation_prompts": list(self.validation_prompts),
        }

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> TrainingJob:
        config = load_dataclass(STAGES[said["stage"]].config, said["config"], said["stage"])
        return cls(said["stage"], config, said["out"], tuple(said["validation_prompts"]))


def run_here(job: TrainingJob, report: Report) -> None:
    """Train in this process.

    Raises:
        ConfigError: the data is not there or does not fit the model.
        WeightsError: the model cannot be read, or the checkpoint is of another configuration.
        StorageError: the output fails, somebody else trains there, or a shard is gone.
        LockLostError: somebody else may train there by now; nothing is stored any more.
    """
    check_shards(job.config, STAGES[job.stage].places)
    with open_storage(job.out).lock(LOCK) as lock:
        _train(job, report, lock.check)


def run_on_ray(
    job: TrainingJob, workers: tuple[int, int], address: str | None, max_failures: int
) -> None:
    """Train on workers of a Ray of our own, or of the cluster at `address`.

    This process holds the lock and waits; workers store without asking whether it is still held.

    Raises:
        StorageError: the output fails, somebody else trains there, or a shard is gone.
        ClusterError: Ray cannot be started or joined, or has no room for the workers.
        TrainingError: training failed too often; says why the last time.
    """
    from videogen_cluster.session import ray_session
    from videogen_cluster.training import train_on_workers

    check_shards(job.config, STAGES[job.stage].places)
    use_gpu = job.config.schedule.device != "cpu"
    with open_storage(job.out).lock(LOCK), ray_session(address):
        train_on_workers(
            train_as_worker,
            job.to_dict(),
            workers,
            use_gpu=use_gpu,
            max_failures=max_failures,
        )


def last_report(job: TrainingJob) -> dict[str, Any]:
    """The step a run that ended is at, and what the log says of it, in as many lines as it took."""
    rows = _logged(open_storage(job.out))
    step = max([job.config.schedule.num_steps, *(row["step"] for row in rows)])
    last: dict[str, Any] = {"step": step}
    for row in rows:
        last |= row if row["step"] == step else {}
    return last


def _logged(storage: Storage) -> list[dict[str, Any]]:
    """The lines of the log; none where it was removed and there was no step left to log."""
    try:
        lines = storage.read(LOG_FILE).decode().splitlines()
    except MissingKeyError:
        return []
    return [json.loads(line) for line in lines]


def train_as_worker(said: dict[str, Any]) -> None:
    """What each worker of Ray Train does."""
    import ray.train

    job = TrainingJob.of(said)
    every = job.config.schedule.checkpoint_every  # a report takes up to two seconds

    def report(step: int, loss: float) -> None:
        if step % every == 0:
            ray.train.report({"step": step, "loss": loss})

    _train(job, report)


def _train(job: TrainingJob, report: Report, fence: Callable[[], None] = lambda: None) -> None:
    stage = STAGES[job.stage]
    _check_device(job.config.schedule.device)
    with temporary_folder() as fetched, run_folder(job.out, stage.kept) as folder:
        config = with_local(job.config, stage.places, fetched)
        uploads = Uploads(job.out, folder, fence)

        def on_step(step: int, measured: Measured) -> None:
            report(step, measured.loss)

        def on_save(step: int, model: VideoModel) -> None:
            clips = Path(folder, "validation", f"{step:06}")
            make_clips(model, job.validation_prompts, clips, config.schedule.device)

        hooks = Hooks(on_step, on_save, lambda step: uploads.store(), logger.warning)
        stage.train(config, folder, hooks)


def _check_device(name: str) -> None:
    """Raise `ConfigError` where torch has no such device on this machine."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"schedule.device: got '{name}', expected cpu or cuda[:n].") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"schedule.device: got '{name}', but torch finds no CUDA device. Fix: use cpu."
        )
