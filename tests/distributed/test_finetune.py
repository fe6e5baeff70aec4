"""Several workers train the model that one worker would with the same whole batch."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.distributed.pool import RankPool
from tests.distributed.training_jobs import train
from tests.encoded import write_encoded
from videogen.models.weights import load_model
from videogen.training.config import FineTuneConfig, ScheduleConfig
from videogen.training.finetune import finetune


@pytest.fixture(scope="module")
def config(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> FineTuneConfig:
    model = load_model(tiny_model)
    data = write_encoded(tmp_path_factory.mktemp("shards"), model, {5: 8, 9: 4})
    schedule = ScheduleConfig(
        num_steps=6, batch_size=5, learning_rate=1e-3, log_every=1, num_threads=1
    )
    return FineTuneConfig(schedule=schedule, model=str(tiny_model), data=str(data))


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.distributed
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_workers_train_what_one_does(
    ranks: RankPool, config: FineTuneConfig, tmp_path: Path, strategy: str
) -> None:
    finetune(config, tmp_path / "one")
    shared = replace(config, strategy=strategy, accumulate=2)
    ranks.run(train, 2, config=shared, folder=tmp_path, stop_at=4)
    first, second = tmp_path / "worker-0", tmp_path / "worker-1"
    assert not (second / "checkpoint.safetensors").exists()
    shutil.copy(first / "checkpoint.safetensors", second)
    ranks.run(train, 2, config=shared, folder=tmp_path)
    assert losses(first) == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    one, two = (load_file(path / "checkpoint.safetensors") for path in (tmp_path / "one", first))
    assert one.keys() == two.keys()
    for name in one:
        if name.startswith("average/"):
            torch.testing.assert_close(two[name], one[name], atol=2e-5, rtol=1e-3)
