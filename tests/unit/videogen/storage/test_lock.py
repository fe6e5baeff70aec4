from __future__ import annotations

import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from videogen.errors import StorageError
from videogen.storage import LocalStorage, LockLostError
from videogen.storage.lock import waiting_lock

FORK = multiprocessing.get_context("fork")


def hold(root: Path, ready: Connection) -> None:
    with LocalStorage(root).lock():
        ready.send("held")
        time.sleep(60)


def hold_with_child(root: Path, ready: Connection) -> None:
    with LocalStorage(root).lock():
        child = FORK.Process(target=time.sleep, args=(60,))
        child.start()
        ready.send(child.pid)
        time.sleep(60)


def start(target: object, root: Path) -> tuple[BaseProcess, object]:
    ours, theirs = FORK.Pipe()
    holder = FORK.Process(target=target, args=(root, theirs))  # type: ignore[arg-type]
    holder.start()
    assert ours.poll(30)
    return holder, ours.recv()


def test_another_process_is_named_and_its_kill_frees_the_lock(tmp_path: Path) -> None:
    holder, _ = start(hold, tmp_path)
    with (
        pytest.raises(StorageError, match=rf"process {holder.pid} on .* Fix: "),
        LocalStorage(tmp_path).lock(),
    ):
        pass
    assert holder.pid
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(30)
    with LocalStorage(tmp_path).lock():
        pass


def test_a_surviving_child_of_a_killed_holder_does_not_keep_the_lock(tmp_path: Path) -> None:
    holder, child = start(hold_with_child, tmp_path)
    assert holder.pid
    assert isinstance(child, int)
    os.kill(holder.pid, signal.SIGKILL)
    os.waitpid(holder.pid, 0)  # join() would wait for the child as well
    try:
        os.kill(child, 0)  # the child lives
        with LocalStorage(tmp_path).lock():
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_the_same_process_cannot_hold_it_twice(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    with storage.lock():
        for _ in range(2):  # a refused attempt must not drop the lock
            with pytest.raises(StorageError, match="this process"), storage.lock():
                pass
    with storage.lock():
        pass


def test_a_holder_whose_lock_file_is_gone_or_another_has_lost_it(tmp_path: Path) -> None:
    with LocalStorage(tmp_path).lock() as lock:
        lock.check()
        assert lock.owner.startswith(f"process {os.getpid()} on ")
        (tmp_path / ".lock").unlink()
        for _ in range(2):
            with pytest.raises(LockLostError, match="Fix: "):
                lock.check()
            (tmp_path / ".lock").touch()


def test_waiting_locks_are_held_one_at_a_time(tmp_path: Path) -> None:
    inside: list[int] = []

    def work(number: int) -> int:
        with waiting_lock(tmp_path / "deep" / "x.lock"):
            inside.append(number)
            time.sleep(0.02)
            return len(inside) - inside.index(number)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(work, range(4))) == [1, 1, 1, 1]


def test_an_error_inside_frees_it(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    with pytest.raises(ZeroDivisionError), storage.lock():
        raise ZeroDivisionError
    with storage.lock():
        assert list(storage.list()) == []  # the lock file is no key
