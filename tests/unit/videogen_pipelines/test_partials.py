"""Parts of unfinished clips: complete means with its state, unbroken from the first, and ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from videogen.storage import LocalStorage, MissingKeyError, check_key
from videogen_pipelines.keys import (
    PartialKey,
    id_of_key,
    meta_key,
    parse_partial,
    partial_key,
    partials_prefix,
)
from videogen_pipelines.partials import (
    PartialClip,
    encoding_recipe,
    remove_leftovers,
    remove_partials,
    stored_partials,
)

CLIP = "ab" * 16


def partial(storage: LocalStorage, name: str = "a", **fields: str) -> PartialClip:
    return PartialClip(storage, name, **{"clip_id": CLIP, "recipe": "h264-auto", **fields})


def add(clip: PartialClip, folder: Path, *chunks: int) -> None:
    for chunk in chunks:
        segment = folder / "segment.mp4"
        segment.write_bytes(f"frames {chunk}".encode())
        clip.add(chunk, segment, f"state {chunk}".encode())


def stored(storage: LocalStorage) -> list[str]:
    return sorted(storage.list("partial/"))


def test_keys_say_what_they_were_told():
    for name in ("a", "a.mp4", "A-_.9" * 25):
        place = PartialKey(name, CLIP, "av1-30", 7, "safetensors")
        assert parse_partial(check_key(partial_key(place))) == place
        assert partial_key(place).startswith(partials_prefix(name))
        assert id_of_key(partial_key(place)) is None
    assert not partial_key(PartialKey("a.b", CLIP, "r", 0, "mp4")).startswith(partials_prefix("a"))
    assert parse_partial(f"partial/00/a={CLIP}.h264-auto.000000.mp4") is None
    assert parse_partial(partial_key(place).replace("=", "")) is None
    recipes = {encoding_recipe("h264", crf, number) for crf in (None, 0) for number in (1, 2)}
    assert len(recipes) == 4


def test_chunks_are_found_again_and_only_the_last_state_is_kept(
    storage: LocalStorage, tmp_path: Path
):
    clip = partial(storage)
    assert clip.num_chunks() == 0
    add(clip, tmp_path, 0, 1, 2)
    assert partial(storage).num_chunks() == 3
    assert clip.read_state(3) == b"state 2"
    assert [path.read_bytes() for path in clip.segments(3)] == [
        b"frames 0",
        b"frames 1",
        b"frames 2",
    ]
    assert [key for key in stored(storage) if key.endswith("safetensors")] == stored(storage)[3:4]
    with pytest.raises(MissingKeyError):
        clip.read_state(2)


def test_nothing_of_another_clip_recipe_or_id_is_taken(storage: LocalStorage, tmp_path: Path):
    add(partial(storage), tmp_path, 0)
    assert partial(storage, clip_id="cd" * 16).num_chunks() == 0
    assert partial(storage, recipe="h264-20").num_chunks() == 0
    assert partial(storage, "b").num_chunks() == 0


def test_a_chunk_without_its_state_or_with_a_hole_before_it_is_not_complete(
    storage: LocalStorage, tmp_path: Path
):
    clip = partial(storage)
    add(clip, tmp_path, 0, 1)
    segments = [key for key in stored(storage) if key.endswith("mp4")]
    states = [key for key in stored(storage) if key.endswith("safetensors")]
    state = storage.read(states[0])
    storage.delete(states[0])
    assert clip.num_chunks() == 0
    storage.create(states[0], state)
    assert clip.num_chunks() == 2
    storage.delete(segments[0])
    assert clip.num_chunks() == 0


def test_a_chunk_made_twice_stays_as_it_was(storage: LocalStorage, tmp_path: Path):
    clip = partial(storage)
    add(clip, tmp_path, 0)
    (tmp_path / "other").write_bytes(b"other")
    clip.add(0, tmp_path / "other", b"other")
    assert clip.read_state(1) == b"state 0"
    assert [path.read_bytes() for path in clip.segments(1)] == [b"frames 0"]


def test_all_of_an_id_is_removed_and_nothing_else(storage: LocalStorage, tmp_path: Path):
    add(partial(storage), tmp_path, 0, 1)
    add(partial(storage, recipe="av1-auto"), tmp_path, 0)
    add(partial(storage, "a.b"), tmp_path, 0)
    remove_partials(storage, "a")
    assert [name for name, _ in stored_partials(storage)] == ["a.b"]


def test_parts_of_complete_clips_are_left_over(storage: LocalStorage, tmp_path: Path):
    for name in ("done", "open"):
        add(partial(storage, name), tmp_path, 0, 1)
    storage.create(meta_key("done"), b"{}")
    assert remove_leftovers(storage) == 3
    assert [(name, len(places)) for name, places in stored_partials(storage)] == [("open", 3)]
    assert remove_leftovers(storage) == 0
