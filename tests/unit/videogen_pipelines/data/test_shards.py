"""Shards: the same bytes for the same samples, read by webdataset, planned by size and length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import webdataset

from videogen.errors import MediaError, StorageError
from videogen.storage import LocalStorage
from videogen_pipelines.data.records import sample_key
from videogen_pipelines.data.shard_plan import (
    Candidate,
    Ref,
    bucket_of,
    plan_round,
    read_rounds,
    store_round,
)
from videogen_pipelines.data.shards import commit_shard, read_shard, write_shard

SAMPLES = [(f"clip-{index}", {"mp4": bytes([index]) * 700, "txt": b"t"}) for index in range(3)]


def test_what_is_written_is_what_webdataset_reads(tmp_path: Path):
    path = tmp_path / "a.tar"
    assert write_shard(path, SAMPLES) == ["clip-0", "clip-1", "clip-2"]
    assert list(read_shard(path)) == SAMPLES
    reader: Any = webdataset
    theirs = list(reader.WebDataset(str(path), shardshuffle=False))
    assert [(each["__key__"], each["mp4"]) for each in theirs] == [
        (key, sample["mp4"]) for key, sample in SAMPLES
    ]


def test_equal_samples_make_equal_bytes(tmp_path: Path):
    for name in ("a.tar", "b.tar"):
        write_shard(tmp_path / name, SAMPLES)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


@pytest.mark.parametrize("damage", ["cut", "no tar"])
def test_a_damaged_shard_is_named(tmp_path: Path, damage: str):
    path = tmp_path / "a.tar"
    write_shard(path, SAMPLES)
    path.write_bytes(path.read_bytes()[:900] if damage == "cut" else b"x" * 2000)
    with pytest.raises(MediaError, match=r"a\.tar, which cannot be read"):
        list(read_shard(path))


def test_a_shard_that_lacks_its_record_is_replaced_and_one_that_has_it_is_not(tmp_path: Path):
    storage, path = LocalStorage(tmp_path / "out"), tmp_path / "a.tar"
    storage.create("shards/a.tar", b"half")
    write_shard(path, SAMPLES)
    record = commit_shard(storage, "shards/a.tar", "index/a.json", path, ["clip-0"])
    assert storage.read("shards/a.tar") == path.read_bytes()
    assert record.num_bytes == path.stat().st_size
    write_shard(path, SAMPLES[:1])
    commit_shard(storage, "shards/a.tar", "index/a.json", path, ["clip-0"])
    assert len(list(read_shard(tmp_path / "out/shards/a.tar"))) == 3


def candidate(key: str, bucket: str = "64x64x17", num_bytes: int = 10) -> Candidate:
    return Candidate(Ref(key=key, source=key, version="0"), bucket, num_bytes)


def test_shards_hold_one_bucket_and_no_more_than_fits():
    clips = [candidate(f"{index}", num_bytes=40) for index in range(5)]
    clips += [candidate("x", "32x32x5"), candidate("huge", "32x32x5", 1000)]
    found = plan_round(clips, 3, shard_clips=10, shard_bytes=100)
    assert [(shard.name, [ref.key for ref in shard.clips]) for shard in found.shards] == [
        ("32x32x5/clips-003-000000", ["huge"]),
        ("32x32x5/clips-003-000001", ["x"]),
        ("64x64x17/clips-003-000000", ["0", "1"]),
        ("64x64x17/clips-003-000001", ["2", "3"]),
        ("64x64x17/clips-003-000002", ["4"]),
    ]


def test_a_plan_is_fixed(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    first = plan_round([candidate("a")], 0, 10, 100)
    store_round(storage, 0, first)
    store_round(storage, 0, first)
    with pytest.raises(StorageError, match="another process has made"):
        store_round(storage, 0, plan_round([candidate("b")], 0, 10, 100))
    assert read_rounds(storage) == [first]


@pytest.mark.parametrize(("frames", "bucket"), [(4, 1), (5, 5), (16, 9), (17, 17), (900, 513)])
def test_buckets_are_by_size_and_length(frames: int, bucket: int):
    assert bucket_of(48, 64, frames) == f"64x48x{bucket}"


def test_keys_hold_no_dot_and_differ_where_videos_do():
    long = "a/" * 60 + "x.y"
    keys = {sample_key(name, "0123456789", 7) for name in ("x.y", long, long + "z")}
    assert len(keys) == 3
    assert not [key for key in keys if "." in key or "/" in key or len(key) > 100]
    assert sample_key("x.y", "0123456789", 7) == "x-y-01234567-0007"
