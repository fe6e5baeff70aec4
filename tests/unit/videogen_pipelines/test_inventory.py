from __future__ import annotations

import pytest

from videogen.storage import LocalStorage
from videogen_pipelines.inventory import ForeignKey, StoredItem, inventory, stored_items
from videogen_pipelines.keys import attempt_key, clip_key, meta_key, shard_of

FOREIGN = [
    "clips/readme.txt",
    "clips/0/a.mp4",
    f"clips/{shard_of('x')}/not-an-{shard_of('x')}.webm",
    "clips/zz/a.mp4",
    "meta/a.json",
    f"meta/{shard_of('a')}/a.json.bak",
]


def test_clips_and_sidecars_meet_by_id(storage: LocalStorage) -> None:
    names = [f"clip-{number}" for number in range(600)]  # every shard has some, some have several
    for number, name in enumerate(names):
        if number % 3 != 1:
            storage.put(meta_key(name), b"{}")
        if number % 3 != 2:
            storage.put(clip_key(name), b"clip")
    found = {item.id: item for item in stored_items(storage)}
    assert len(found) == 600
    for number, name in enumerate(names):
        keys = [] if number % 3 == 2 else [clip_key(name)]
        assert found[name] == StoredItem(name, number % 3 != 1, keys)


def test_all_attempts_at_a_clip_are_found(storage: LocalStorage) -> None:
    keys = sorted([attempt_key("a"), attempt_key("a"), clip_key("a")])
    for key in keys:
        storage.put(key, b"clip")
    (item,) = stored_items(storage)
    assert (item.id, item.has_sidecar, sorted(item.clip_keys)) == ("a", False, keys)


@pytest.mark.parametrize("with_clips", [False, True])
def test_every_foreign_key_is_told_once(storage: LocalStorage, with_clips: bool) -> None:
    names = ["a", "x", *(f"clip-{n}" for n in range(50))] if with_clips else []
    for name in names:
        storage.put(clip_key(name), b"clip")
        storage.put(meta_key(name), b"{}")
    for key in FOREIGN:
        storage.put(key, b"?")
    found = list(inventory(storage))
    assert sorted(f.key for f in found if isinstance(f, ForeignKey)) == sorted(FOREIGN)
    assert sorted(f.id for f in found if isinstance(f, StoredItem)) == sorted(names)


def test_an_empty_output(storage: LocalStorage) -> None:
    assert list(inventory(storage)) == []
