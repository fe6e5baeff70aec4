"""What a training says when it ends, and that it stores nothing once its lock is lost."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.s3.server import S3Server
from videogen.models.config import VAEConfig
from videogen.storage import LockLostError, open_storage
from videogen.storage.lease import LeaseTimes
from videogen.training.config import ScheduleConfig, VAETrainConfig
from videogen_pipelines.training.job import TrainingJob, last_report, run_here

VAE = VAETrainConfig(
    schedule=ScheduleConfig(num_steps=2, batch_size=1, learning_rate=1e-3, num_threads=1),
    num_frames=5,
    size=32,
    validation_clips=1,
    vae=VAEConfig(latent_channels=4, widths=(8, 8, 8)),
)


@pytest.mark.parametrize(
    ("logged", "expected"),
    [
        (None, {"step": 25}),
        ([], {"step": 25}),
        ([{"step": 20, "loss": 3.0}], {"step": 25}),
        ([{"step": 20, "loss": 3.0}, {"step": 25, "loss": 2.0}], {"step": 25, "loss": 2.0}),
        (
            [{"step": 25, "loss": 2.0}, {"step": 25, "psnr": 9.0}],
            {"step": 25, "loss": 2.0, "psnr": 9.0},
        ),
        ([{"step": 40, "loss": 1.0}], {"step": 40, "loss": 1.0}),  # fewer steps asked for than done
    ],
)
def test_a_run_that_ended_is_at_its_last_step_whatever_was_logged(
    logged: list[dict[str, float]] | None, expected: dict[str, float], tmp_path: Path
) -> None:
    config = replace(VAE, schedule=replace(VAE.schedule, num_steps=25))
    if logged is not None:
        lines = [json.dumps(row) + "\n" for row in logged]
        (tmp_path / "log.jsonl").write_text("".join(lines))
    assert last_report(TrainingJob("vae", config, str(tmp_path))) == expected


def test_a_run_whose_lease_has_lapsed_stores_nothing(
    s3_env: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = LeaseTimes(ttl_s=0.1, renew_s=60)
    monkeypatch.setattr("videogen.storage.s3.storage.LeaseTimes", lambda *times: silent)
    storage = open_storage(s3_env.uri())

    def stand_still(step: int, loss: float) -> None:
        time.sleep(0.2)
        storage.put("checkpoint.safetensors", b"of whoever took over")

    with pytest.raises(LockLostError, match=r"could not be renewed in time.* Fix: "):
        run_here(TrainingJob("vae", VAE, storage.uri), stand_still)
    assert storage.read("checkpoint.safetensors") == b"of whoever took over"
    assert not storage.exists("log.jsonl")
