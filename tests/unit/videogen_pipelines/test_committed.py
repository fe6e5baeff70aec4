from __future__ import annotations

import logging
import time
import tracemalloc
from typing import Any

import pytest

from videogen.errors import StorageError
from videogen.storage import LocalStorage
from videogen_pipelines.commit import commit_clip
from videogen_pipelines.committed import (
    committed_ids,
    list_shards,
    orphaned_clips,
    read_committed,
    read_sidecars,
)
from videogen_pipelines.keys import attempt_key, clip_key, meta_key
from videogen_pipelines.ledger import LedgerWriter


def commit(storage: LocalStorage, clips: Any, *names: str) -> dict[str, str]:
    done: dict[str, str] = {}
    for name in names:
        provenance = clips.provenance(name)
        commit_clip(storage, clips.file(provenance), provenance, clips.inspect)
        done[name] = provenance.clip_id
    return done


def index(storage: LocalStorage, done: dict[str, str], epoch: int = 1) -> None:
    writer = LedgerWriter(storage, epoch)
    for name, clip in done.items():
        writer.append({"id": name, "clip_id": clip, "state": "done"})
    writer.flush()


def test_sidecars_in_the_ledger_are_not_read(storage: LocalStorage, clips: Any) -> None:
    done = commit(storage, clips, "a", "b", "c")
    index(storage, {name: done[name] for name in ("a", "b")})
    for name in ("a", "b"):
        storage.put(meta_key(name), b"would fail if it were read")
    told: list[str] = []
    assert read_committed(storage, lambda sidecar: told.append(sidecar.id)) == done
    assert told == ["c"]


def test_the_listing_decides(
    storage: LocalStorage, clips: Any, caplog: pytest.LogCaptureFixture
) -> None:
    done = commit(storage, clips, "a", "b")
    index(storage, done)
    storage.delete(meta_key("a"))
    with caplog.at_level(logging.WARNING):
        assert read_committed(storage) == {"b": done["b"]}
    assert "'a'" in caplog.text


def test_a_failure_is_no_commit(storage: LocalStorage) -> None:
    writer = LedgerWriter(storage, 1)
    writer.append({"id": "a", "clip_id": "x", "state": "failed"})
    writer.flush()
    assert read_committed(storage) == {}


def test_a_damaged_sidecar_outside_the_ledger_is_named(storage: LocalStorage) -> None:
    storage.create(meta_key("a"), b"{}")
    with pytest.raises(StorageError, match=r"a\.json"):
        read_committed(storage)


def test_foreign_files_are_no_commits(storage: LocalStorage) -> None:
    storage.create("meta/zz/a.json", b"{}")
    storage.create("meta/readme.txt", b"")
    assert list(committed_ids(storage)) == []


def test_a_long_listing_is_the_same_shard_by_shard(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(500):
        storage.root.joinpath(meta_key(f"clip-{number}")).parent.mkdir(parents=True, exist_ok=True)
        storage.root.joinpath(meta_key(f"clip-{number}")).touch()
    expected = list(storage.list("meta/"))
    for serial in (1, 7, 250, 499, 500, 501):
        monkeypatch.setattr("videogen_pipelines.committed._SERIAL", serial)
        assert list(list_shards(storage, "meta/")) == expected
    assert sorted(committed_ids(storage)) == sorted(f"clip-{number}" for number in range(500))


def test_orphans_are_clips_without_sidecar(storage: LocalStorage, clips: Any) -> None:
    done = commit(storage, clips, "a")
    attempt = attempt_key("b")
    for key in (clip_key("b"), attempt):
        storage.create(key, b"x")
    assert orphaned_clips(storage, done) == {"b": sorted([clip_key("b"), attempt])}


def test_sidecars_are_read_in_the_order_asked_for(
    storage: LocalStorage, clips: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("videogen_pipelines.committed._BATCH", 2)
    commit(storage, clips, *"abcde")
    names = ["e", "a", "gone", "d", "b", "c"]
    assert [sidecar.id for sidecar in read_sidecars(storage, names)] == ["e", "a", "d", "b", "c"]


@pytest.mark.benchmark
def test_a_resume_reads_a_hundred_thousand_clips_within_its_budget(storage: LocalStorage) -> None:
    """A tenth of the promise for a million clips: 60 s and 600 MB, here in CPU time."""
    total = 100_000
    done = {f"prompt-{number:08d}": f"{number:032x}" for number in range(total)}
    for name in done:
        path = storage.root / meta_key(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()  # empty: reading one would fail
    index(storage, done)
    started_s = time.process_time()
    tracemalloc.start(1)
    found = read_committed(storage)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == done
    assert time.process_time() - started_s < 6.0
    assert peak_bytes < 60e6
