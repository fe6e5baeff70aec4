"""A run's clips as shards: all of them once, also when clips come later or a process dies."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.unit.videogen_pipelines.data.conftest import InProcess
from videogen.storage import LocalStorage
from videogen_pipelines.clip_workload import GenerateWorkload
from videogen_pipelines.config import RunConfig, load_run_config
from videogen_pipelines.data import export
from videogen_pipelines.data.export import export_key, export_run
from videogen_pipelines.data.shards import read_shard
from videogen_pipelines.engine import Items
from videogen_pipelines.generate import Outcome, generate
from videogen_pipelines.inputs import ManifestInputs
from videogen_pipelines.job import Job, LoadedModel
from videogen_pipelines.verification.verifier import verify_run


def make(folder: Path, model: Path, ids: list[str], *settings: str) -> Outcome:
    manifest = folder / "rows.jsonl"
    rows = [
        {"id": name, "prompt": f"a red circle {name}", "num_frames": 5 + 4 * (number % 2)}
        for number, name in enumerate(ids)
    ]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = load_run_config(None, [f"model.name={model}", *settings])
    loaded = LoadedModel.read(config.model.name)
    inputs = ManifestInputs(str(manifest), loaded.defaults(config), loaded.check)
    job = Job.check(config, loaded, inputs, str(folder / "out"))

    def engine(job: Job, items: Items, listener: Any) -> bool:
        waiting = list(items)
        return InProcess()(
            GenerateWorkload(job.settings()), RunConfig(), waiting, listener, len(waiting)
        )

    return generate(job, Console(file=io.StringIO()), engine=engine)


def samples(out: Path) -> dict[str, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted(out.rglob("*.tar")):
        for key, sample in read_shard(path):
            assert key not in found, "a clip is in two shards"
            found[key] = sample
    return found


def test_a_run_leaves_its_clips_in_shards_by_length(tmp_path: Path, tiny_model: Path):
    outcome = make(tmp_path, tiny_model, ["a", "b", "c.d"], "output.format=webdataset")
    out = tmp_path / "out"
    assert outcome.shards == 2
    assert {path.parent.name for path in out.rglob("*.tar")} == {"32x32x5", "32x32x9"}
    found = samples(out)
    assert set(found) == {"a", "b", export_key("c.d")}
    assert "." not in export_key("c.d")
    (clip,) = out.glob("clips/*/b.mp4")
    assert found["b"]["mp4"] == clip.read_bytes()
    assert found["b"]["txt"] == b"a red circle b"
    said = json.loads(found["b"]["json"])
    assert (said["caption"], said["num_frames"]) == ("a red circle b", 9)
    assert said["source"]["id"] == "b"
    assert verify_run(LocalStorage(out)).proven


def test_clips_that_come_later_go_into_further_shards(tmp_path: Path, tiny_model: Path):
    make(tmp_path, tiny_model, ["a", "b"])
    storage = LocalStorage(tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.tar"))
    assert export_run(storage).clips == 2
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.tar")}
    make(tmp_path, tiny_model, ["a", "b", "c"])
    assert export_run(storage).clips == 3
    assert export_run(storage).clips == 3
    assert set(samples(tmp_path / "out")) == {"a", "b", "c"}
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("after", ["put", "create"])
def test_a_death_between_two_writes_loses_and_doubles_nothing(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, after: str
):
    make(tmp_path, tiny_model, ["a", "b", "c"])
    storage = LocalStorage(tmp_path / "out")
    real = getattr(LocalStorage, after)
    calls = []

    def dying(self: LocalStorage, key: str, *rest: Any) -> Any:
        answer = real(self, key, *rest)
        calls.append(key)
        if key.startswith(("plans/", "shards/", "index/")):
            raise KeyboardInterrupt
        return answer

    for _ in range(2):
        monkeypatch.setattr(LocalStorage, after, dying)
        with pytest.raises(KeyboardInterrupt):
            export.export_run(storage)
        monkeypatch.setattr(LocalStorage, after, real)
    make(tmp_path, tiny_model, ["a", "b", "c", "d"])
    assert export_run(storage).clips == 4
    assert set(samples(tmp_path / "out")) == {"a", "b", "c", "d"}
