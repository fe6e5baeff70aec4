"""The program `train finetune`: its output holds all that must last, so that it always goes on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videogen.errors import StorageError
from videogen.models.protocol import VideoModel
from videogen.storage import MissingKeyError, Storage, is_remote, open_storage
from videogen.storage.temporary import temporary_folder
from videogen.training.config import FineTuneConfig, ScheduleConfig
from videogen.training.finetune import Measured, finetune
from videogen.training.finetune_state import CHECKPOINT_FILE
from videogen.training.state import LOG_FILE

LOCK = ".lock-train"
Report = Callable[[int, float], None]


@dataclass(frozen=True)
class FineTuneJob:
    """What is trained, and where everything goes that must last.

    Attributes:
        out: a folder or an `s3://` address.
        validation_prompts: clips of these are made whenever a checkpoint is written.
    """

    config: FineTuneConfig
    out: str
    validation_prompts: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON types only; `of` is the inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> FineTuneJob:
        config = dict(said["config"])
        schedule = ScheduleConfig(**config.pop("schedule"))
        return cls(
            FineTuneConfig(schedule=schedule, **config),
            said["out"],
            tuple(said["validation_prompts"]),
        )


def run_here(job: FineTuneJob, report: Report) -> None:
    """Train in this process.

    Raises:
        ConfigError: the data is not there or does not fit the model.
        WeightsError: the model cannot be read, or the checkpoint is of another configuration.
        StorageError: the output fails, or somebody else trains there.
    """
    storage = open_storage(job.out)
    with storage.lock(LOCK):
        _train(job, storage, report)


def run_on_ray(
    job: FineTuneJob, workers: tuple[int, int], address: str | None, max_failures: int
) -> None:
    """Train on workers of a Ray of our own, or of the cluster at `address`.

    Raises:
        StorageError: the output fails, or somebody else trains there.
        ClusterError: Ray cannot be started or joined, or has no room for the workers.
        TrainingError: training failed too often; says why the last time.
    """
    from videogen_cluster.session import ray_session
    from videogen_cluster.training import train_on_workers

    use_gpu = job.config.schedule.device != "cpu"
    with open_storage(job.out).lock(LOCK), ray_session(address):
        train_on_workers(
            train_as_worker,
            job.to_dict(),
            workers,
            use_gpu=use_gpu,
            max_failures=max_failures,
        )


def last_report(job: FineTuneJob) -> dict[str, Any]:
    """The last line of the log."""
    log = open_storage(job.out).read(LOG_FILE).decode()
    return json.loads(log.splitlines()[-1])


def train_as_worker(said: dict[str, Any]) -> None:
    """What each worker of Ray Train does."""
    import ray.train

    job = FineTuneJob.of(said)
    every = job.config.schedule.log_every

    def report(step: int, loss: float) -> None:
        if step % every == 0:
            ray.train.report({"step": step, "loss": loss})

    _train(job, open_storage(job.out), report)


def _train(job: FineTuneJob, storage: Storage, report: Report) -> None:
    with temporary_folder() as root:
        folder = root / "run"
        folder.mkdir()
        _fetch(storage, folder, (CHECKPOINT_FILE, LOG_FILE))
        config = dataclasses.replace(job.config, data=str(_here(job.config.data, root / "data")))

        def save(step: int, model: VideoModel) -> None:
            clips = folder / "validation" / f"{step:06}"
            make_clips(model, job.validation_prompts, clips)
            store(storage, folder)

        def on_step(step: int, measured: Measured) -> None:
            report(step, measured.loss)

        finetune(config, folder, on_save=save, on_step=on_step)


def store(storage: Storage, folder: Path) -> None:
    """Store all files of a checkpoint; the checkpoint itself last, because runs go on from it."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: path.name == CHECKPOINT_FILE):
        storage.put(path.relative_to(folder).as_posix(), path)


def make_clips(model: VideoModel, prompts: tuple[str, ...], folder: Path) -> None:
    """Write a clip of each prompt, with the model's own settings and seed 0."""
    import torch

    from videogen.generator import VideoGenerator

    if not prompts:
        return
    folder.mkdir(parents=True, exist_ok=True)
    pipe = VideoGenerator(model, torch.device("cpu"))
    for index, prompt in enumerate(prompts):
        pipe(prompt, seed=0).save(folder / f"{index:03}.mp4")


def _fetch(storage: Storage, folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        try:
            storage.download(name, folder / name)
        except MissingKeyError:
            (folder / name).unlink(missing_ok=True)


def _here(data: str, folder: Path) -> Path:
    """The shards as files of this machine."""
    if not is_remote(data):
        return Path(data).expanduser()
    storage = open_storage(data)
    folder.mkdir()
    keys = [key for key in storage.list() if key.endswith(".tar")]
    if not keys:
        raise StorageError(
            f"{data}: got no .tar object, expected shards of encoded clips. "
            "Fix: give the address that 'videogen data encode' wrote to."
        )
    for key in keys:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        storage.download(key, path)
    return folder
