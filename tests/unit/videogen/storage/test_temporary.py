"""Temporary folders go away with their users, also with those that are killed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from videogen.errors import StorageError
from videogen.storage.temporary import remove_abandoned_work, temporary_folder, user_root

HOLD = """
import sys
from videogen.storage.temporary import temporary_folder
with temporary_folder() as folder:
    (folder / "part").write_bytes(b"half")
    print(folder, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def holder() -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_ones_own_and_goes_away(temporary: Path):
    with temporary_folder() as first, temporary_folder() as second:
        (first / "a").write_text("a")
        assert first != second
        assert temporary in first.parents
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_not(temporary: Path):
    killed, abandoned = holder()
    living, kept = holder()
    killed.kill()
    killed.communicate()
    assert (abandoned / "part").exists()
    remove_abandoned_work()
    assert not abandoned.exists()
    assert (kept / "part").read_bytes() == b"half"
    living.communicate("\n")
    assert list(temporary.iterdir()) == []


def test_a_user_of_the_root_tidies_too(temporary: Path):
    killed, abandoned = holder()
    killed.kill()
    killed.communicate()
    with temporary_folder():
        assert not abandoned.exists()


def test_nothing_to_remove(temporary: Path):
    remove_abandoned_work()
    assert list(temporary.iterdir()) == []


def test_a_folder_of_somebody_else_is_refused(monkeypatch: pytest.MonkeyPatch):
    root = user_root()
    monkeypatch.setattr("os.getuid", lambda: 12345)
    user_root().mkdir()
    with pytest.raises(StorageError, match="got a folder of another user"), temporary_folder():
        pass
    assert root != user_root()
