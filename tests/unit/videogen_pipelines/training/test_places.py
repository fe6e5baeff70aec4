"""Training from and to an object store: what it goes on from is fetched, what is new is stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.s3.server import S3Server
from videogen.errors import StorageError
from videogen.models.weights import load_model, save_vae
from videogen.storage import open_storage
from videogen.training.config import FineTuneConfig, ScheduleConfig, VAETrainConfig
from videogen.training.encoded_clips import encoded_with
from videogen_pipelines.cli.app import run
from videogen_pipelines.training.job import TrainingJob, run_here
from videogen_pipelines.training.places import Uploads, with_local
from videogen_pipelines.training.stages import STAGES

DIT = """
schema: 1
vae_folder: {vae}
size: 32
pools: [{{num_frames: 5, initial: 8, capacity: 8, fresh_per_step: 8, share: 1}}]
dit: {{in_channels: 4, width: 24, depth: 1, num_heads: 2, text_width: 12}}
text: {{width: 12, depth: 1, num_heads: 2}}
schedule: {{num_steps: 6, batch_size: 2, learning_rate: 1.0e-3, log_every: 1, num_threads: 1,
  checkpoint_every: 2}}
"""


def test_a_run_in_an_object_store_goes_on(
    s3_env: S3Server, tiny_model: Path, tmp_path: Path
) -> None:
    model, config, out = load_model(tiny_model), tmp_path / "dit.yaml", s3_env.uri()
    save_vae(tmp_path / "vae", model.vae, model.spec.latents)
    for path in (tmp_path / "vae").iterdir():
        open_storage(f"{out}/vae").put(path.name, path)
    config.write_text(DIT.format(vae=tmp_path / "vae"))
    command = ["train", "dit", str(config)]
    assert run([*command, "--out", str(tmp_path / "whole")]) == 0
    far = [*command, "--set", f"vae_folder={out}/vae", "--out", f"{out}/run"]
    # A cool-down that begins later leaves the first four steps as they are.
    assert run([*far, "--set", "schedule.num_steps=4", "--set", "schedule.cooldown_share=0"]) == 0
    storage = open_storage(f"{out}/run")
    assert {"checkpoint.safetensors", "latents-5.safetensors", "model/dit.safetensors"} <= set(
        storage.list()
    )
    assert run(far) == 0
    rows = [json.loads(line) for line in storage.read("log.jsonl").splitlines()]
    whole = (tmp_path / "whole" / "log.jsonl").read_text().splitlines()
    assert [row["loss"] for row in rows] == [json.loads(line)["loss"] for line in whole]


def test_only_what_changed_is_stored_and_the_checkpoint_last(
    s3_env: S3Server, tmp_path: Path
) -> None:
    out = s3_env.uri()
    uploads, storage = Uploads(out, tmp_path), open_storage(out)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"1")
    (tmp_path / "pool").write_bytes(b"same")
    uploads.store()
    assert set(storage.list()) == {"checkpoint.safetensors", "pool"}
    storage.put("pool", b"not stored again")
    (tmp_path / "checkpoint.safetensors").write_bytes(b"2")
    uploads.store()
    assert storage.read("pool") == b"not stored again"
    assert storage.read("checkpoint.safetensors") == b"2"


def test_workers_find_places_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    schedule = {"num_steps": 1, "batch_size": 1, "learning_rate": 1.0}
    said = {"schema": 1, "schedule": schedule, "data": "encoded", "model": "default"}
    job = TrainingJob.of(
        {"stage": "finetune", "config": said, "out": "x", "validation_prompts": ["a", "b"]}
    )
    again = TrainingJob.of(json.loads(json.dumps(job.to_dict())))
    assert again.config.data == str(tmp_path / "encoded")
    assert again.config.model == "default"
    assert again.validation_prompts == ("a", "b")


def test_an_encoder_is_a_name_or_an_address(s3_env: S3Server, tmp_path: Path) -> None:
    schedule = {"num_steps": 1, "batch_size": 1, "learning_rate": 1.0}
    said = {"schema": 1, "schedule": schedule, "start_from": "shipped"}
    near = {"stage": "contrastive", "config": said, "out": "x", "validation_prompts": []}
    job = TrainingJob.of(TrainingJob.of(near).to_dict())
    assert job.config.start_from == "shipped"
    address = s3_env.uri()
    (tmp_path / "spec").write_text("sizes")
    open_storage(address).put("text_video.yaml", tmp_path / "spec")
    far = TrainingJob.of({**near, "config": {**said, "start_from": address}})
    here = with_local(far.config, STAGES["contrastive"].places, tmp_path / "here")
    assert Path(here.start_from, "text_video.yaml").read_text() == "sizes"


@pytest.mark.parametrize(
    ("stage", "out", "data"),
    [
        ("vae", "data", "data"),
        ("contrastive", "data", "data/shards"),
        ("finetune", "shards", "shards"),
        ("finetune", ".", "shards"),
        ("finetune", "S3", "S3/shards/"),
    ],
)
def test_data_of_which_a_shard_is_gone_is_refused(
    stage: str,
    out: str,
    data: str,
    s3_env: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    address = s3_env.uri()
    for key in ("shards/a.tar", "index/a.json", "index/b.json"):
        open_storage(out.replace("S3", address)).put(key, b"")
    schedule = {"num_steps": 1, "batch_size": 1, "learning_rate": 1.0}
    config = {"schema": 1, "schedule": schedule, "data": data.replace("S3", address)}
    said = {"stage": stage, "config": config, "out": "trained", "validation_prompts": []}
    with pytest.raises(StorageError, match=r"got no shards/b\.tar, expected every shard.*Fix: run"):
        run_here(TrainingJob.of(said), lambda step, loss: None)


@pytest.mark.parametrize(("out", "data"), [("", ""), ("", "/shards"), ("/shards", "/shards")])
def test_what_shards_were_encoded_with_comes_with_them(
    out: str, data: str, s3_env: S3Server, tmp_path: Path
) -> None:
    address = s3_env.uri()
    open_storage(address).put("other.tar", b"")
    open_storage(address + out).put("shards/a.tar", b"")
    open_storage(address + out).put("encode.json", b'{"vae_digest": "of another"}')
    schedule = ScheduleConfig(num_steps=1, batch_size=1, learning_rate=1.0)
    config = FineTuneConfig(schedule=schedule, data=address + data)
    here = with_local(config, STAGES["finetune"].places, tmp_path)
    assert encoded_with(Path(here.data)) == {"vae_digest": "of another"}
    assert [path.name for path in Path(here.data).rglob("a.tar")] == ["a.tar"]
    assert any(Path(here.data).rglob("other.tar")) == (not data)


def test_an_address_without_shards_is_named(s3_env: S3Server, tmp_path: Path) -> None:
    schedule = {"num_steps": 1, "batch_size": 1, "learning_rate": 1.0}
    job = TrainingJob.of(
        {
            "stage": "vae",
            "config": {"schema": 1, "schedule": schedule, "data": s3_env.uri()},
            "out": "x",
            "validation_prompts": [],
        }
    )
    assert isinstance(job.config, VAETrainConfig)
    with pytest.raises(StorageError, match=r"got no \.tar object"):
        with_local(job.config, STAGES["vae"].places, tmp_path)
