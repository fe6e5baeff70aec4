from __future__ import annotations

import errno
import hashlib
import logging
import multiprocessing
import os
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from videogen.errors import MediaError, OutputConflictError, StorageError
from videogen.storage import LocalStorage
from videogen_pipelines.commit import ADOPTED_WARNING, adopt_clip, commit_clip
from videogen_pipelines.keys import clip_key, meta_key
from videogen_pipelines.sidecar import ModelStamp, find_sidecar, read_sidecar

FORK = multiprocessing.get_context("fork")
KEY, META = clip_key("a"), meta_key("a")


def test_a_commit_stores_the_clip_and_then_its_sidecar(storage: LocalStorage, clips: Any) -> None:
    provenance = clips.provenance("a", attempts=2)
    path = clips.file(provenance)
    result = commit_clip(storage, path, provenance, clips.inspect)
    assert result.status == "created"
    assert sorted(storage.list()) == [KEY, META]
    assert storage.read(KEY) == path.read_bytes()
    sidecar = read_sidecar(storage, "a")
    assert sidecar == result.sidecar
    assert sidecar.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sidecar.bytes == path.stat().st_size
    assert (sidecar.clip_id, sidecar.key) == (provenance.clip_id, KEY)
    assert (sidecar.frames, sidecar.duration_s, sidecar.attempts) == (5, 5 / 8, 2)
    assert sidecar.warnings == ()


def test_committing_again_changes_nothing(storage: LocalStorage, clips: Any) -> None:
    provenance = clips.provenance("a")
    first = commit_clip(storage, clips.file(provenance), provenance, clips.inspect)
    second = commit_clip(storage, clips.file(provenance, "late"), provenance, clips.inspect)
    assert second.status == "duplicate"
    assert second.sidecar == first.sidecar
    assert b"late" not in storage.read(KEY)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 8}, "seed 7, now 8"),
        ({"prompt": "a boat"}, "prompt 'prompt of a', now 'a boat'"),
        ({"model": ModelStamp(name="tiny", digest="e" * 64)}, "model dddddddddddd, now eeee"),
    ],
)
def test_another_clip_under_the_id_is_a_conflict_that_says_why(
    storage: LocalStorage, clips: Any, changes: dict[str, Any], named: str
) -> None:
    first, other = clips.provenance("a"), clips.provenance("a", **changes)
    commit_clip(storage, clips.file(first), first, clips.inspect)
    before = storage.read(KEY), storage.read(META)
    with pytest.raises(OutputConflictError, match=r"id 'a'.*Fix: ") as caught:
        commit_clip(storage, clips.file(other), other, clips.inspect)
    assert named in str(caught.value)
    assert (storage.read(KEY), storage.read(META)) == before


def test_a_file_that_is_not_the_clip_is_never_published(storage: LocalStorage, clips: Any) -> None:
    provenance = clips.provenance("a")
    wrong = clips.file(clips.provenance("a", seed=8))
    with pytest.raises(MediaError, match=r"clip_id .* Fix: pass container_metadata"):
        commit_clip(storage, wrong, provenance, clips.inspect)
    wrong.write_bytes(b"torn")
    with pytest.raises(MediaError, match="no clip"):
        commit_clip(storage, wrong, provenance, clips.inspect)
    assert not storage.root.exists()


def test_a_clip_without_sidecar_is_adopted(storage: LocalStorage, clips: Any) -> None:
    provenance = clips.provenance("a")
    stored = clips.content(provenance, "by the writer that died")
    storage.create(KEY, stored)
    result = commit_clip(storage, clips.file(provenance), provenance, clips.inspect)
    assert result.status == "adopted"
    assert storage.read(KEY) == stored
    assert result.sidecar.sha256 == hashlib.sha256(stored).hexdigest()
    assert result.sidecar.warnings == (ADOPTED_WARNING,)
    assert find_sidecar(storage, "a") == result.sidecar


def test_adoption_needs_no_new_clip(storage: LocalStorage, clips: Any) -> None:
    provenance = clips.provenance("a")
    assert adopt_clip(storage, provenance, clips.inspect) is None
    storage.create(KEY, clips.content(provenance))
    result = adopt_clip(storage, provenance, clips.inspect)
    assert result is not None
    assert result.status == "adopted"
    again = adopt_clip(storage, provenance, clips.inspect)
    assert again is not None
    assert again.status == "duplicate"


@pytest.mark.parametrize("commit", [True, False])
def test_another_clip_without_sidecar_is_a_conflict(
    storage: LocalStorage, clips: Any, commit: bool
) -> None:
    provenance = clips.provenance("a")
    stored = clips.content(clips.provenance("a", seed=8))
    storage.create(KEY, stored)
    with pytest.raises(OutputConflictError, match=r"clip without sidecar .* Fix: "):
        if commit:
            commit_clip(storage, clips.file(provenance), provenance, clips.inspect)
        else:
            adopt_clip(storage, provenance, clips.inspect)
    assert list(storage.list()) == [KEY]
    assert storage.read(KEY) == stored


def test_a_damaged_clip_is_set_aside_and_replaced(
    storage: LocalStorage, clips: Any, caplog: pytest.LogCaptureFixture
) -> None:
    provenance = clips.provenance("a")
    storage.create(KEY, b"torn by some other tool")
    with caplog.at_level(logging.WARNING):
        result = commit_clip(storage, clips.file(provenance), provenance, clips.inspect)
    assert result.status == "created"
    assert storage.read(KEY) == clips.content(provenance)
    (aside,) = storage.list("quarantine/")
    assert storage.read(aside) == b"torn by some other tool"
    assert KEY in caplog.text
    assert aside in caplog.text


def test_a_damaged_clip_that_was_replaced_meanwhile_is_left_alone(
    storage: LocalStorage, clips: Any
) -> None:
    provenance = clips.provenance("a")
    storage.create(KEY, b"torn")

    def inspect(path: Path, request: Any) -> Any:
        try:
            return clips.inspect(path, request)
        finally:
            storage.put(KEY, clips.content(provenance, "theirs"))

    assert adopt_clip(storage, provenance, inspect) is None
    assert storage.read(KEY) == clips.content(provenance, "theirs")


def test_a_sidecar_whose_clip_was_replaced_is_a_conflict(storage: LocalStorage, clips: Any) -> None:
    provenance = clips.provenance("a")
    commit_clip(storage, clips.file(provenance), provenance, clips.inspect)
    storage.delete(KEY)
    with pytest.raises(OutputConflictError, match=rf"does not describe.*delete {META}"):
        commit_clip(storage, clips.file(provenance, "other bytes"), provenance, clips.inspect)


def test_a_removed_clip_comes_back_with_the_same_bytes(storage: LocalStorage, clips: Any) -> None:
    provenance = clips.provenance("a")
    commit_clip(storage, clips.file(provenance), provenance, clips.inspect)
    storage.delete(KEY)
    result = commit_clip(storage, clips.file(provenance), provenance, clips.inspect)
    assert result.status == "duplicate"
    assert storage.read(KEY) == clips.content(provenance)


def test_a_full_disk_leaves_neither_file_and_a_retry_succeeds(
    storage: LocalStorage, clips: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    provenance = clips.provenance("a")
    path = clips.file(provenance)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match=r"ENOSPC.*Fix: free some space"):
            commit_clip(storage, path, provenance, clips.inspect)
    assert list(storage.list()) == []
    assert commit_clip(storage, path, provenance, clips.inspect).status == "created"


class Remote(LocalStorage):
    """As an object store looks: no local paths, metadata beside the objects."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.kept: dict[str, dict[str, str]] = {}

    def create(self, key: str, data: bytes | Path, metadata: Any = None) -> bool:
        self.kept[key] = dict(metadata or {})
        return super().create(key, data, metadata)

    def open_local(self, key: str) -> Path | None:
        self.size(key)


def test_storage_that_is_elsewhere(tmp_path: Path, clips: Any) -> None:
    remote = Remote(tmp_path / "out")
    provenance = clips.provenance("a", attempts=3)
    result = commit_clip(remote, clips.file(provenance), provenance, clips.inspect)
    assert remote.kept[KEY] == {
        "clip_id": provenance.clip_id,
        "attempt": "3",
        "sha256": result.sidecar.sha256,
    }
    remote.delete(META)
    adopted = adopt_clip(remote, provenance, clips.inspect)
    assert adopted is not None
    assert (adopted.status, adopted.sidecar.sha256) == ("adopted", result.sidecar.sha256)


def commit_all(root: Path, clips: Any, who: str, barrier: Barrier, wins: Any) -> None:
    storage = LocalStorage(root)
    clips.folder = clips.folder / who
    clips.folder.mkdir()
    for number in range(50):
        provenance = clips.provenance(f"clip-{number}")
        path = clips.file(provenance, noise=who)  # as if the encoder were not deterministic
        barrier.wait()
        result = commit_clip(storage, path, provenance, clips.inspect)
        wins.append((number, result.status, result.sidecar.sha256))


def test_of_two_processes_exactly_one_commits_each_clip(tmp_path: Path, clips: Any) -> None:
    root = tmp_path / "out"
    with FORK.Manager() as manager:
        wins = manager.list()
        barrier = FORK.Barrier(2)
        racers = [
            FORK.Process(target=commit_all, args=(root, clips, who, barrier, wins)) for who in "ab"
        ]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join(120)
        assert [racer.exitcode for racer in racers] == [0, 0]
        results = list(wins)
    assert len(results) == 100
    winners = [number for number, status, _ in results if status != "duplicate"]
    assert sorted(winners) == list(range(50))
    storage = LocalStorage(root)
    assert len(list(storage.list())) == 100
    for number, _, sha256 in results:
        content = storage.read(clip_key(f"clip-{number}"))
        assert hashlib.sha256(content).hexdigest() == sha256
        assert read_sidecar(storage, f"clip-{number}").sha256 == sha256
