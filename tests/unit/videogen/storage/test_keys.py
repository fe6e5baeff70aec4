from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from videogen.errors import StorageError
from videogen.storage import LocalStorage, check_key
from videogen.storage.base import check_prefix

BAD = [
    "",
    ".",
    "..",
    "/",
    "/etc/passwd",
    "../x",
    "a/../../x",
    "a/..",
    "a//b",
    "a/",
    "./a",
    "a/./b",
    ".tmp-1-x",
    "clips/.lock",
    "a\x00b",
    "a\nb",
    "a\\..\\b",
    "\ud800",
    "x" * 256,
    "é" * 128,
    "/".join(["x" * 250] * 5),
]


@pytest.mark.parametrize("key", BAD)
def test_bad_keys_are_refused_by_every_method(tmp_path: Path, key: str) -> None:
    storage = LocalStorage(tmp_path / "out")
    for call in (
        lambda: storage.create(key, b"x"),
        lambda: storage.put(key, b"x"),
        lambda: storage.read(key),
        lambda: storage.metadata(key),
        lambda: storage.exists(key),
        lambda: storage.size(key),
        lambda: storage.delete(key),
        lambda: storage.open_local(key),
    ):
        with pytest.raises(StorageError, match=r"^key: got .* expected .* Fix: "):
            call()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["a", "clips/ab/x.mp4", "_SUCCESS", "a..b", "é/ü", "x" * 255])
def test_good_keys_are_returned(key: str) -> None:
    assert check_key(key) == key


def test_a_long_key_is_not_repeated_in_full() -> None:
    with pytest.raises(StorageError) as caught:
        check_key("x" * 100_000)
    assert len(str(caught.value)) < 500


ANY_KEY = st.text() | st.lists(
    st.sampled_from(["..", ".", "", "a", "b.mp4", "\\", "\x00", "~", "*"]), min_size=1, max_size=6
).map("/".join)


@given(ANY_KEY)
@example("~")
@example("a/~root/b")
def test_an_accepted_key_never_leaves_the_root_and_reads_back(key: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "out"
        storage = LocalStorage(root)
        try:
            assert storage.create(key, b"content")
        except StorageError:
            assert not root.exists()
            return
        written = [Path(top, name) for top, _, names in os.walk(folder) for name in names]
        assert [path.resolve().relative_to(root).as_posix() for path in written] == [key]
        assert list(storage.list()) == [key]
        assert storage.read(key) == b"content"


KEYS = st.lists(st.text("ab-.", min_size=1, max_size=3), min_size=1, max_size=3).map("/".join)


def is_key(key: str) -> bool:
    try:
        check_key(key)
    except StorageError:
        return False
    return True


@given(st.sets(KEYS.filter(is_key), max_size=12), st.text("ab-/", max_size=4))
def test_list_is_a_plain_string_prefix_as_in_object_stores(keys: set[str], prefix: str) -> None:
    # A disk cannot hold both `a` and `a/b`; object stores can.
    keys = {key for key in keys if not any(other.startswith(key + "/") for other in keys)}
    with tempfile.TemporaryDirectory() as folder:
        storage = LocalStorage(folder)
        for key in keys:
            (storage.root / key).parent.mkdir(parents=True, exist_ok=True)
            (storage.root / key).touch()
        try:
            check_prefix(prefix)
        except StorageError:
            with pytest.raises(StorageError):
                list(storage.list(prefix))
            return
        listed = list(storage.list(prefix))
        assert len(listed) == len(set(listed))
        assert set(listed) == {key for key in keys if key.startswith(prefix)}
