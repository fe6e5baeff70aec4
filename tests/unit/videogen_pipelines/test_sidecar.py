from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from videogen.errors import StorageError
from videogen.storage import LocalStorage, MissingKeyError
from videogen_pipelines.commit import commit_clip
from videogen_pipelines.keys import meta_key
from videogen_pipelines.sidecar import Parallel, Sidecar, find_sidecar, read_sidecar


def committed(storage: LocalStorage, clips: Any) -> Sidecar:
    provenance = clips.provenance("a", metadata={"topic": "ships", "nested": {"n": [1, 2.5, None]}})
    return commit_clip(storage, clips.file(provenance), provenance, clips.inspect).sidecar


def test_a_sidecar_reads_back_equal(storage: LocalStorage, clips: Any) -> None:
    written = committed(storage, clips)
    assert read_sidecar(storage, "a") == written
    plain = json.loads(storage.read(meta_key("a")))
    assert plain["schema"] == 1
    assert plain["request"]["metadata"] == {"topic": "ships", "nested": {"n": [1, 2.5, None]}}
    assert plain["timings"]["denoise_s"] == 2.0
    assert plain["timings"]["commit_s"] > 0
    assert plain["created_at"].endswith("Z")


def test_an_absent_sidecar(storage: LocalStorage) -> None:
    assert find_sidecar(storage, "a") is None
    with pytest.raises(MissingKeyError):
        read_sidecar(storage, "a")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"schema": 2}, "schema"),
        ({"bytes": "12"}, "bytes"),
        ({"sha256": "abc"}, "sha256"),
        ({"surprise": 1}, "surprise"),
        ({"timings": {"denoise_s": -1.0}}, "timings.denoise_s"),
        ({"created_at": "2030-01-01T00:00:00"}, "created_at"),
    ],
)
def test_a_wrong_sidecar_is_named(
    storage: LocalStorage, clips: Any, change: dict[str, Any], named: str
) -> None:
    committed(storage, clips)
    content = json.loads(storage.read(meta_key("a"))) | change
    storage.put(meta_key("a"), json.dumps(content).encode())
    with pytest.raises(StorageError, match=rf"meta/../a\.json: got {named}: .* Fix: "):
        find_sidecar(storage, "a")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"null"])
def test_a_damaged_sidecar_is_named(storage: LocalStorage, content: bytes) -> None:
    storage.put(meta_key("a"), content)
    with pytest.raises(StorageError, match=r"Fix: .*delete it and run"):
        read_sidecar(storage, "a")


def test_an_outcome_is_plain_json(storage: LocalStorage, clips: Any) -> None:
    sidecar = committed(storage, clips)
    outcome = sidecar.outcome()
    assert json.loads(json.dumps(outcome)) == outcome
    assert outcome["state"] == "done"
    assert outcome["created_at"] == sidecar.created_at.timestamp()


def test_an_outcome_says_what_ranks_told_each_other(storage: LocalStorage, clips: Any) -> None:
    alone = committed(storage, clips)
    assert "parallel" not in alone.outcome()
    parallel = Parallel(
        seq_degree=2, cfg_degree=1, calls={"seq": 4}, bytes={"seq": 640}, seconds={"seq": 0.5}
    )
    shared = alone.model_copy(update={"parallel": parallel})
    assert json.loads(json.dumps(shared.outcome()))["parallel"]["bytes"] == {"seq": 640}
    storage.put(meta_key("a"), shared.to_json())
    assert read_sidecar(storage, "a").parallel == parallel


def test_a_sidecar_of_an_earlier_version_still_reads(storage: LocalStorage, clips: Any) -> None:
    committed(storage, clips)
    content = json.loads(storage.read(meta_key("a")))
    for name in ("gpu_s", "gang", "device", "parallel"):
        del content[name]
    storage.put(meta_key("a"), json.dumps(content).encode())
    old = read_sidecar(storage, "a")
    assert (old.gpu_s, old.gang, old.device) == (0.0, None, None)


def test_a_sidecar_cannot_be_changed(storage: LocalStorage, clips: Any) -> None:
    with pytest.raises(ValidationError):
        committed(storage, clips).attempts = 2
