"""Scratch files live beside the clips but are no part of the output, and die with the run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from videogen.errors import StorageError
from videogen.storage import LocalStorage, Storage, open_storage
from videogen_pipelines import scratch
from videogen_pipelines.scratch import clean_scratch, scratch_folder

HOLD = """
import sys
from videogen.storage import open_storage
from videogen_pipelines.scratch import scratch_folder
folder = scratch_folder(open_storage(sys.argv[1]))
(folder / "clip.mp4").write_bytes(b"half")
print(folder, flush=True)
sys.stdin.readline()
"""
OUT = "s3://bucket/out"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The system's temporary folder; what this process holds in it is let go at the end."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield tmp_path
    for _, lock in scratch._own.values():
        lock.close()
    scratch._own.clear()


def rank(out: str = OUT) -> tuple[subprocess.Popen, Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, out],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def kill(process: subprocess.Popen) -> None:
    process.kill()
    process.communicate()


def test_scratch_is_invisible_to_the_output_and_goes_away(tmp_path: Path):
    storage = LocalStorage(tmp_path / "out")
    folder = scratch_folder(storage)
    (folder / "a.mp4").write_bytes(b"x")
    assert folder == scratch_folder(storage)
    assert list(storage.list()) == []
    clean_scratch(storage)
    assert list((tmp_path / "out").iterdir()) == []
    clean_scratch(storage)


def test_a_process_has_one_folder_for_each_remote_output(temporary: Path):
    one, other = open_storage(OUT), open_storage("s3://bucket/other")
    assert scratch_folder(one) == scratch_folder(one)
    assert scratch_folder(one) != scratch_folder(other)
    assert scratch_folder(one).is_relative_to(temporary)
    [root] = temporary.iterdir()
    assert root.stat().st_mode & 0o77 == 0


def test_the_next_rank_removes_what_a_killed_one_left(temporary: Path):
    dead, abandoned = rank()
    living, kept = rank()
    kill(dead)
    folder = scratch_folder(open_storage(OUT))
    assert not abandoned.exists()
    assert (kept / "clip.mp4").exists()
    assert folder.parent == kept.parent
    kill(living)


def test_the_end_of_a_run_leaves_nothing(temporary: Path):
    for process, _ in (rank(), rank()):
        kill(process)
    clean_scratch(open_storage(OUT))
    assert list(temporary.iterdir()) == []
    clean_scratch(open_storage(OUT))


def test_other_runs_are_left_alone(temporary: Path):
    process, folder = rank("s3://bucket/other")
    clean_scratch(open_storage(OUT))
    assert folder.is_dir()
    kill(process)


def test_the_end_waits_for_ranks_that_are_dying(temporary: Path):
    process, _ = rank()
    threading.Timer(0.3, process.kill).start()
    clean_scratch(open_storage(OUT), wait_s=10)
    assert list(temporary.iterdir()) == []
    process.communicate()


def test_the_end_does_not_wait_for_ever_for_the_living(temporary: Path):
    process, folder = rank()
    started = time.monotonic()
    clean_scratch(open_storage(OUT), wait_s=0.3)
    assert time.monotonic() - started < 3
    assert (folder / "clip.mp4").exists()
    kill(process)


def test_ranks_and_the_end_may_meet(temporary: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder that is being removed is not the one that a new rank gets."""
    storage: Storage = open_storage(OUT)
    stop = threading.Event()

    def tidy() -> None:
        while not stop.is_set():
            clean_scratch(storage, wait_s=0)

    tidier = threading.Thread(target=tidy)
    tidier.start()
    try:
        for _ in range(50):
            folder = scratch_folder(storage)
            (folder / "clip.mp4").write_bytes(b"x")
            assert (folder / "clip.mp4").exists()
            scratch._own.popitem()[1][1].close()
    finally:
        stop.set()
        tidier.join()


def test_a_folder_of_somebody_else_is_not_used(temporary: Path, monkeypatch: pytest.MonkeyPatch):
    import os

    scratch_folder(open_storage("s3://bucket/other"))
    root = next(temporary.iterdir())
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    root.rename(temporary / "videogen-12345")
    with pytest.raises(StorageError, match=r"another user.* Fix: "):
        scratch_folder(open_storage(OUT))
