"""Captions from sidecars and indices, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from videogen.errors import ConfigError
from videogen.storage import LocalStorage
from videogen_pipelines.data.captions import CaptionIndex, read_sidecar_caption

ROWS = [
    {"file": "a/one.mp4", "caption": "one", "author": "x"},
    {"file": "two.mp4", "caption": "two", "author": None},
]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_all_kinds_of_index_say_the_same(tmp_path: Path, suffix: str):
    path = tmp_path / f"captions.{suffix}"
    if suffix == "csv":
        path.write_text("\ufefffile,caption,author\na/one.mp4,one,x\ntwo.mp4,two,\n")
    elif suffix == "jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    else:
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    index = CaptionIndex.read(str(path))
    assert len(index) == 2
    found = index.find("a/one.mp4")
    assert found is not None
    assert (found.text, found.metadata) == ("one", {"author": "x"})
    for key in ("two.mp4", "elsewhere/two.mp4"):
        other = index.find(key)
        assert other is not None
        assert other.text == "two"
    assert index.find("three.mp4") is None


def test_names_that_are_not_unique_need_their_folder():
    rows = [{"path": f"{folder}/x.mp4", "text": folder} for folder in "ab"]
    index = CaptionIndex(rows, "index")
    assert index.find("c/x.mp4") is None
    found = index.find("b/x.mp4")
    assert found is not None
    assert found.text == "b"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"caption": "c"}], "row 1: got caption, expected a column with the video's path"),
        ([{"file": "a.mp4"}], "expected a caption, in one of caption, prompt"),
        ([ROWS[0], ROWS[0]], "row 2: got 'a/one.mp4' a second time"),
    ],
)
def test_an_incomplete_index_is_refused(rows: list[dict[str, str]], said: str):
    with pytest.raises(ConfigError, match=said):
        CaptionIndex(rows, "index")


def test_an_index_of_another_kind_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"captions.txt', expected a file that ends in"):
        CaptionIndex.read(str(tmp_path / "captions.txt"))


def test_captions_stand_beside_videos(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    (tmp_path / "a.txt").write_text("  a ball\n")
    (tmp_path / "b.json").write_text('{"prompt": "a cube", "fps": 24}')
    (tmp_path / "d.json").write_text("[1]")
    beside = read_sidecar_caption(storage, "a.mp4")
    assert beside is not None
    assert beside.text == "a ball"
    described = read_sidecar_caption(storage, "b.webm")
    assert described is not None
    assert (described.text, described.metadata) == ("a cube", {"fps": 24})
    assert read_sidecar_caption(storage, "c.mp4") is None
    with pytest.raises(ConfigError, match=r"d.json: got list, expected an object"):
        read_sidecar_caption(storage, "d.mp4")
