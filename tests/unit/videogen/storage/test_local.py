from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from videogen.errors import StorageError
from videogen.storage import LocalStorage, MissingKeyError, local_copy

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "out")


def hidden(storage: LocalStorage) -> list[str]:
    return [path.name for path in storage.root.rglob(".*")]


def test_create_never_overwrites(storage: LocalStorage) -> None:
    assert storage.create("a/b", b"first")
    assert not storage.create("a/b", b"second")
    assert storage.read("a/b") == b"first"
    assert hidden(storage) == []


def test_create_from_a_file_copies_it(storage: LocalStorage, tmp_path: Path) -> None:
    source = tmp_path / "clip.mp4"
    source.write_bytes(b"frames" * 1000)
    assert storage.create("clips/x.mp4", source)
    assert not storage.create("clips/x.mp4", source)
    source.write_bytes(b"the writer's next clip")
    assert storage.read("clips/x.mp4") == b"frames" * 1000
    assert storage.size("clips/x.mp4") == 6000


def test_create_names_a_missing_source(storage: LocalStorage, tmp_path: Path) -> None:
    with pytest.raises(MissingKeyError, match=r"gone\.mp4"):
        storage.create("clips/x.mp4", tmp_path / "gone.mp4")
    assert list(storage.list()) == []
    assert hidden(storage) == []


def test_created_files_are_as_open_as_the_umask_allows(storage: LocalStorage) -> None:
    previous = os.umask(0o027)
    try:
        storage.create("x", b"x")
    finally:
        os.umask(previous)
    assert (storage.root / "x").stat().st_mode & 0o777 == 0o640


def test_put_replaces(storage: LocalStorage, tmp_path: Path) -> None:
    storage.put("x", b"one")
    storage.put("x", b"two")
    assert storage.read("x") == b"two"
    (tmp_path / "three").write_bytes(b"three")
    storage.put("x", tmp_path / "three")
    assert storage.read("x") == b"three"
    assert hidden(storage) == []


def test_absent_keys(storage: LocalStorage) -> None:
    assert not storage.exists("x")
    assert list(storage.list()) == []
    assert list(storage.list("x/")) == []
    storage.delete("x")
    missing = (storage.read, storage.size, storage.metadata, storage.revision, storage.open_local)
    for call in missing:
        with pytest.raises(MissingKeyError, match="Fix: "):
            call("x")
    assert not storage.root.exists()


def test_links_that_lead_back_are_not_followed(storage: LocalStorage) -> None:
    for name in ("a", "b"):
        storage.create(f"{name}/x", b"1")
    (storage.root / "a" / "to-b").symlink_to(storage.root / "b")
    (storage.root / "b" / "to-a").symlink_to(storage.root / "a")
    (storage.root / "b" / "up").symlink_to(storage.root.parent)
    (storage.root / "itself").symlink_to("itself")
    assert list(storage.list("a/")) == ["a/to-b/to-a", "a/to-b/up", "a/to-b/x", "a/x"]
    assert "itself" in storage.list()
    with pytest.raises(MissingKeyError, match="leads back to itself"):
        storage.size("itself")


def test_delete_frees_the_name(storage: LocalStorage) -> None:
    storage.create("x", b"one")
    storage.delete("x")
    assert storage.create("x", b"two")


def test_a_folder_is_no_key(storage: LocalStorage) -> None:
    storage.create("a/b", b"x")
    assert not storage.exists("a")
    assert list(storage.list("a/b/")) == []


def test_open_local_and_local_copy_give_the_stored_file(storage: LocalStorage) -> None:
    storage.create("a/b.mp4", b"x")
    assert storage.open_local("a/b.mp4") == storage.root / "a/b.mp4"
    with local_copy(storage, "a/b.mp4") as path:
        assert path == storage.root / "a/b.mp4"


def test_local_copy_downloads_what_is_elsewhere(tmp_path: Path) -> None:
    class Remote(LocalStorage):
        def open_local(self, key: str) -> Path | None:
            self.size(key)

    storage = Remote(tmp_path)
    storage.create("a/b.mp4", b"x")
    with local_copy(storage, "a/b.mp4") as path:
        assert path.read_bytes() == b"x"
        assert path.name == "b.mp4"
        assert not path.is_relative_to(tmp_path)
    assert not path.exists()


def test_download_copies(storage: LocalStorage, tmp_path: Path) -> None:
    storage.create("a/b.mp4", b"x")
    storage.download("a/b.mp4", tmp_path / "copy")
    storage.put("a/b.mp4", b"y")
    assert (tmp_path / "copy").read_bytes() == b"x"
    with pytest.raises(MissingKeyError, match=r"c\.mp4"):
        storage.download("c.mp4", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_what_is_written_is_counted(storage: LocalStorage, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    storage.create("a", b"123")
    storage.create("a", b"123")
    storage.put("a", tmp_path / "file")
    assert storage.counters.snapshot()["bytes_written"] == 8
    assert pickle.loads(pickle.dumps(storage)).counters.snapshot()["bytes_written"] == 0
    assert storage.conditional_writes


def test_it_travels_to_other_processes(storage: LocalStorage) -> None:
    storage.create("x", b"x")
    assert pickle.loads(pickle.dumps(storage)).read("x") == b"x"


def test_a_file_is_no_root(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"is a file, expected a folder\. Fix: "):
        LocalStorage(tmp_path / "file")


def race(root: Path, name: str, barrier: Barrier, wins: list[str]) -> None:
    storage = LocalStorage(root)
    for number in range(50):
        barrier.wait()
        if storage.create(f"clips/{number}", name.encode() * 10_000):
            wins.append(f"{number} {name}")


def test_of_two_processes_exactly_one_wins_each_key(tmp_path: Path) -> None:
    with FORK.Manager() as manager:
        wins = manager.list()
        barrier = FORK.Barrier(2)
        racers = [FORK.Process(target=race, args=(tmp_path, n, barrier, wins)) for n in "ab"]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join(60)
        winners = dict(win.split() for win in wins)
        assert len(wins) == len(winners) == 50
    for number, name in winners.items():
        assert LocalStorage(tmp_path).read(f"clips/{number}") == name.encode() * 10_000
    assert hidden(LocalStorage(tmp_path)) == []


def die_before_linking(root: Path) -> None:
    Path.hardlink_to = lambda self, target: os._exit(9)  # as a kill does: nothing is tidied up
    LocalStorage(root).create("clips/x.mp4", b"half")


def test_a_writer_killed_before_the_link_leaves_nothing_visible(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    writer = FORK.Process(target=die_before_linking, args=(tmp_path,))
    writer.start()
    writer.join(60)
    assert writer.exitcode == 9
    left = hidden(storage)
    assert [name.rpartition("-")[0] for name in left] == [f".tmp-{writer.pid}"]
    assert list(storage.list()) == []
    assert storage.clean_temporary(older_than_s=3600) == 0
    assert storage.create("clips/x.mp4", b"whole")
    assert storage.clean_temporary(older_than_s=-1) == 1
    assert hidden(storage) == []
    assert storage.read("clips/x.mp4") == b"whole"


def test_a_link_whose_answer_was_lost_counts_as_ours(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = Path.hardlink_to

    def answer_lost(self: Path, target: Path) -> None:
        link(self, target)
        raise FileExistsError(errno.EEXIST, "exists")

    monkeypatch.setattr(Path, "hardlink_to", answer_lost)
    assert storage.create("x", b"ours")


def test_a_link_lost_to_another_writer_is_not_ours(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = Path.hardlink_to

    def too_late(self: Path, target: Path) -> None:
        self.write_bytes(b"theirs")
        link(self, target)

    monkeypatch.setattr(Path, "hardlink_to", too_late)
    assert not storage.create("x", b"ours")
    assert storage.read("x") == b"theirs"


FAILURES = [
    (errno.ENOSPC, "free some space"),
    (errno.EACCES, "permissions"),
    (errno.EROFS, "writable file system"),
    (errno.EPERM, "hard links"),
    (errno.ENOTSUP, "hard links"),
    (errno.EIO, "check the disk"),
]


@pytest.mark.parametrize("call", ["create", "put"])
@pytest.mark.parametrize(("code", "fix"), FAILURES)
def test_a_failing_disk_is_named_and_leaves_nothing_behind(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch, call: str, code: int, fix: str
) -> None:
    storage.create("clips/other", b"x")

    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StorageError) as caught:
            getattr(storage, call)("clips/x.mp4", b"frames")
    message = str(caught.value)
    assert str(storage.root / "clips/x.mp4") in message
    assert errno.errorcode[code] in message
    assert fix in message.partition("Fix: ")[2]
    assert list(storage.list()) == ["clips/other"]
    assert hidden(storage) == []


def test_a_file_system_without_hard_links_is_refused(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", fail)
    with pytest.raises(StorageError, match="hard links"):
        storage.create("x", b"x")
    assert hidden(storage) == []


def test_file_and_folder_are_flushed_before_create_returns(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, link = os.fsync, Path.hardlink_to

    def watched_fsync(descriptor: int) -> None:
        steps.append("flush " + Path(f"/proc/self/fd/{descriptor}").readlink().name[:5])
        fsync(descriptor)

    def watched_link(self: Path, target: Path) -> None:
        steps.append("link")
        link(self, target)

    storage.create("clips/other", b"x")
    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "hardlink_to", watched_link)
    storage.create("clips/x", b"x")
    assert steps == ["flush .tmp-", "link", "flush clips"]
