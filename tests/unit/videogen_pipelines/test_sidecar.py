from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from pydantic import ValidationError

from videogen.errors import StorageError
from videogen.storage import LocalStorage, MissingKeyError
from videogen_pipelines.commit import commit_clip
from videogen_pipelines.sidecar import (
    Sidecar,
    clip_key,
    find_sidecar,
    id_of_key,
    meta_key,
    read_sidecar,
)


def committed(storage: LocalStorage, clips: Any) -> Sidecar:
    provenance = clips.provenance("a", metadata={"topic": "ships", "nested": {"n": [1, 2.5, None]}})
    return commit_clip(storage, clips.file(provenance), provenance, clips.inspect).sidecar


def test_keys_are_sharded_by_the_digest_of_the_id() -> None:
    shard = hashlib.blake2b(b"ship-1").hexdigest()[:2]
    assert clip_key("ship-1") == f"clips/{shard}/ship-1.mp4"
    assert meta_key("ship-1") == f"meta/{shard}/ship-1.json"
    assert len({clip_key(f"id-{n}").split("/")[1] for n in range(5000)}) == 256


@pytest.mark.parametrize("name", ["a", "a.mp4", "a.json", "x.json.mp4", "A-_.9" * 20])
def test_ids_read_back_from_keys(name: str) -> None:
    assert id_of_key(clip_key(name)) == name
    assert id_of_key(meta_key(name)) == name


def test_foreign_keys_hold_no_id() -> None:
    shard = clip_key("a").split("/")[1]
    other = "00" if shard != "00" else "01"
    for key in (f"clips/{other}/a.mp4", f"clips/{shard}/a.webm", "clips/a.mp4", "run.json", "a"):
        assert id_of_key(key) is None


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


def test_a_sidecar_cannot_be_changed(storage: LocalStorage, clips: Any) -> None:
    with pytest.raises(ValidationError):
        committed(storage, clips).attempts = 2
