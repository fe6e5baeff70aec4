"""Captions from sidecars and indices, and what is wrong with them."""

from __future__ import annotations

import json
from datetime import date
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
    found = index.match(["a/one.mp4", "elsewhere/two.mp4", "three.mp4"])
    assert set(found) == {"a/one.mp4", "elsewhere/two.mp4"}
    assert (found["a/one.mp4"].text, found["a/one.mp4"].metadata) == ("one", {"author": "x"})
    assert found["elsewhere/two.mp4"].text == "two"


def matched(files: list[str], keys: list[str]) -> dict[str, str]:
    index = CaptionIndex([{"file": file, "caption": file} for file in files], "index")
    return {key: caption.text for key, caption in index.match(keys).items()}


def test_a_row_counts_for_the_video_that_it_names_and_for_no_other():
    assert matched(["a/x.mp4", "b/x.mp4"], ["b/x.mp4", "c/x.mp4"]) == {"b/x.mp4": "b/x.mp4"}
    assert matched(["a/x.mp4"], ["b/x.mp4"]) == {}
    assert matched(["x.mp4", "a/x.mp4"], ["a/x.mp4"]) == {"a/x.mp4": "a/x.mp4"}
    assert matched(["x"], ["a/x.webm"]) == {"a/x.webm": "x"}
    assert matched(["/data/v/a/x.mp4"], ["a/x.mp4", "b/x.mp4"]) == {"a/x.mp4": "/data/v/a/x.mp4"}
    assert matched(["../x.mp4"], ["x.mp4"]) == {}


@pytest.mark.parametrize(
    ("files", "keys", "said"),
    [
        (["x.mp4"], ["a/x.mp4", "b/x.mp4"], "'x.mp4', which could be 'a/x.mp4' or 'b/x.mp4'"),
        (["x"], ["x.mp4", "x.mov", "x.gif"], "could be 'x.mp4' or 'x.mov' and 1 more"),
        (["x", "x.mp4"], ["x.mp4"], "'x' and 'x.mp4', which could be 'x.mp4'"),
        (["a/x.mp4", "b/x.mp4"], ["x.mp4"], "'a/x.mp4' and 'b/x.mp4', which could be 'x.mp4'"),
    ],
)
def test_rows_that_could_mean_several_videos_are_refused(
    files: list[str], keys: list[str], said: str
):
    with pytest.raises(ConfigError, match=said):
        matched(files, keys)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        (
            "c.csv",
            b"file,caption\nx.mp4,a ball, moving left\n",
            "row 1: got more values than the 2",
        ),
        (
            "c.csv",
            "file,caption\nx.mp4,caf\u00e9\n".encode("latin-1"),
            "c.csv: got text that is no",
        ),
        (
            "c.jsonl",
            b'{"file": "x.mp4", "caption": "\xe9"}\n',
            "c.jsonl: got text that is no UTF-8",
        ),
        ("c.csv", b"file,caption\nx.mp4," + 200_000 * b"a", "c.csv: got field larger than"),
        ("c.parquet", b"no parquet", "c.parquet: got .*, expected a whole .parquet file"),
    ],
)
def test_a_damaged_index_is_refused(tmp_path: Path, name: str, data: bytes, said: str):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError, match=said):
        CaptionIndex.read(str(tmp_path / name))


def test_other_columns_become_what_json_can_hold():
    row = {"file": "x.mp4", "caption": "c", "score": float("nan"), "day": date(2024, 5, 6)}
    index = CaptionIndex([row], "index")
    assert index.match(["x.mp4"])["x.mp4"].metadata == {"score": None, "day": "2024-05-06"}
    with pytest.raises(ConfigError, match=r"row 1: picture: got bytes, which JSON cannot hold"):
        CaptionIndex([{**row, "picture": b"\xff\xd8"}], "index")


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
