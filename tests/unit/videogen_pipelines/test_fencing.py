"""A coordinator that lost its lock writes nothing more and leaves the run to the other one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from videogen.storage import LocalStorage, LockLostError
from videogen_pipelines.commit import commit_clip, store_attempt
from videogen_pipelines.keys import clip_key, meta_key
from videogen_pipelines.results import ResultRow
from videogen_pipelines.run_directory import RunDirectory
from videogen_pipelines.run_record import RunRecord

RECORD = RunRecord.of({"schema": 1}, "prompts.jsonl", "m" * 64, "tiny", "d" * 64)


class Lease:
    """A lock that can be taken away."""

    owner = "us"

    def __init__(self) -> None:
        self.is_lost = False

    def check(self) -> None:
        if self.is_lost:
            raise LockLostError("not renewed in time")


class LeasedStorage(LocalStorage):
    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.leases: list[Lease] = []

    @contextmanager
    def lock(self, name: str = ".lock", *, wait: bool = True) -> Iterator[Lease]:
        self.leases.append(Lease())
        yield self.leases[-1]


@pytest.fixture
def leased(tmp_path: Path) -> LeasedStorage:
    return LeasedStorage(tmp_path / "out")


def snapshot(storage: LocalStorage) -> dict[str, bytes]:
    return {key: storage.read(key) for key in storage.list()}


def rows(clips: Any, *names: str) -> Iterator[ResultRow]:
    for name in names:
        provenance = clips.provenance(name)
        yield ResultRow(name, provenance.clip_id, provenance.request)


def attempt(storage: LocalStorage, clips: Any, name: str) -> dict[str, Any]:
    provenance = clips.provenance(name)
    return store_attempt(storage, clips.file(provenance), provenance, clips.inspect).outcome()


Act = Callable[[RunDirectory, Any, dict[str, Any]], object]
ACTS: dict[str, Act] = {
    "tick": lambda run, clips, stored: run.tick(),
    "flush": lambda run, clips, stored: run.flush(),
    "finish": lambda run, clips, stored: run.finish(rows(clips, "a")),
    "commit": lambda run, clips, stored: run.record_done(stored),
    "withdraw": lambda run, clips, stored: run.withdraw_success(),
    "initialise": lambda run, clips, stored: run.initialise(RECORD),
    "adopt": lambda run, clips, stored: run.adopt_orphans({}, clips.provenance, clips.inspect),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
def test_the_loser_writes_nothing(leased: LeasedStorage, clips: Any, act: Act) -> None:
    stored = attempt(leased, clips, "b")
    leased.put("_SUCCESS", b"of the one that took over")
    before: dict[str, bytes] = {}
    lost = pytest.raises(LockLostError, match=r"took over; it continues the run.* Fix: ")
    with lost, RunDirectory(leased) as run:
        run.initialise(RECORD)
        run.record_failure("a", "oom", "no memory", 3)
        before = snapshot(leased)
        leased.leases[-1].is_lost = True
        act(run, clips, stored)
    assert before
    assert snapshot(leased) == before


def test_the_other_one_finishes_the_run(leased: LeasedStorage, clips: Any) -> None:
    provenance = clips.provenance("a")
    finished: dict[str, bytes] = {}
    with pytest.raises(LockLostError), RunDirectory(leased) as ours:
        ours.initialise(RECORD)
        result = commit_clip(leased, clips.file(provenance), provenance, clips.inspect)
        ours.record_done(result.outcome())
        leased.leases[-1].is_lost = True
        with RunDirectory(leased) as theirs:
            theirs.initialise(RECORD)
            assert theirs.committed() == {"a": provenance.clip_id}
            assert theirs.finish(rows(clips, "a")).done == 1
        finished = snapshot(leased)
        ours.finish(rows(clips, "a"))
    assert "_SUCCESS" in finished
    assert snapshot(leased) == finished
    assert leased.exists(clip_key("a"))
    assert leased.exists(meta_key("a"))
