from __future__ import annotations

import hashlib

import pytest

from videogen.storage import check_key
from videogen_pipelines.keys import (
    attempt_key,
    attempts_prefix,
    clip_key,
    id_of_key,
    is_attempt,
    meta_key,
)


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


@pytest.mark.parametrize("name", ["a", "a.attempt", "x.attempt-0", "A-_.9" * 25])
def test_attempts_belong_to_their_request_and_never_to_another(name: str) -> None:
    first, second = attempt_key(name), attempt_key(name)
    assert first != second
    assert id_of_key(first) == id_of_key(second) == name
    assert first.startswith(attempts_prefix(name))
    assert check_key(first) == first
    assert is_attempt(first)
    assert not is_attempt(clip_key(name))
    assert not is_attempt(meta_key(name))
    assert not is_attempt("clips/readme.txt")


def test_a_sidecar_has_no_attempts() -> None:
    name = "a"
    key = attempt_key(name).replace("clips/", "meta/").replace(".mp4", ".json")
    assert id_of_key(key) is None
