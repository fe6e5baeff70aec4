"""Rows of long clips: durations, schedules, and pictures and videos that they start from."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from videogen.clip_ids import clip_id
from videogen.media import write_video
from videogen.requests import TimedPrompt
from videogen_pipelines.manifest import InvalidRow
from videogen_pipelines.manifest.durations import frames_of
from videogen_pipelines.manifest.media import MediaPlace

SCHEDULE = [{"at_s": 0, "prompt": "a red circle"}, {"at_s": 1.5, "prompt": "a blue one"}]
TIMED = (TimedPrompt(at_s=0, prompt="a red circle"), TimedPrompt(at_s=1.5, prompt="a blue one"))


def line(**fields: Any) -> str:
    return json.dumps(fields) + "\n"


def parquet_bytes(**columns: Any) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def picture(folder: Path, name: str = "cat.png", level: int = 9) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((32, 32, 3), level, np.uint8)).save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("duration_s", "fps", "frames"),
    [(300, 16.0, 4800), (0.001, 12.0, 1), (2.04, 12.0, 24), (2.05, 12.0, 25), (0.5, 3.0, 2)],
)
def test_a_duration_is_the_nearest_number_of_frames(duration_s: float, fps: float, frames: int):
    assert frames_of(duration_s, fps) == frames


def test_a_duration_counts_at_the_rate_of_its_row(manifest) -> None:
    rows = line(prompt="a", duration_s=33 / 12) + line(prompt="b", duration_s=1.1, fps=30)
    assert [clip.num_frames for clip in manifest("p.jsonl", rows).requests()] == [33, 33]


def test_a_row_says_the_same_in_every_format(manifest) -> None:
    fields = {"duration_s": 33 / 12, "extension": "overlap", "anchor": 0.5, "loop": False}
    fields |= {"context_frames": 4, "async_steps": 2, "context_noise": 0.05}
    said = fields | {"prompts": SCHEDULE}
    cells = ['"' + json.dumps(value).replace('"', '""') + '"' for value in said.values()]
    cells[list(said).index("extension")] = "overlap"
    table = parquet_bytes(**{name: [value] for name, value in said.items()})
    found = [
        manifest("p.jsonl", line(**said)).requests(),
        manifest("p.csv", f"{','.join(said)}\n{','.join(cells)}\n").requests(),
        manifest("p.parquet", table).requests(),
    ]
    assert found[0] == found[1] == found[2]
    [clip] = found[0]
    assert (clip.num_frames, clip.prompt, clip.prompts) == (33, "a red circle", TIMED)
    assert (clip.loop, clip.anchor, clip.context_frames, clip.async_steps) == (False, 0.5, 4, 2)


def test_a_loop_is_said_in_words_in_a_csv(manifest) -> None:
    file = manifest("p.csv", "prompt,loop\na,TRUE\nb,false\nc,\n")
    assert [clip.loop for clip in file.requests()] == [True, False, False]
    [error] = manifest("q.csv", "prompt,loop\na,1\n").errors()
    assert "loop: got '1', expected" in error


def test_a_picture_is_found_beside_the_manifest_and_named_by_its_content(
    manifest, tmp_path: Path
) -> None:
    digest = picture(tmp_path, "pictures/cat.png")
    row = line(prompt="a", image="pictures/cat.png")
    [clip] = manifest("p.jsonl", row).requests()
    assert clip.image == str(tmp_path / "pictures/cat.png")
    assert clip.image_sha256 == digest

    def name() -> str:
        [found] = manifest("p.jsonl", row).requests()
        return clip_id(found.model_copy(update={"id": "a", "seed": 1}), "m", "s")

    before, old_id = name(), clip.id
    picture(tmp_path, "pictures/cat.png", level=200)
    assert name() != before
    assert manifest("p.jsonl", row).requests()[0].id != old_id


def test_a_folder_may_move_with_its_pictures(manifest, tmp_path: Path) -> None:
    found = []
    for folder in ("one", "two"):
        picture(tmp_path / folder)
        [clip] = manifest(f"{folder}/p.jsonl", line(prompt="a", image="cat.png")).requests()
        found.append(clip)
    assert found[0].id == found[1].id
    assert clip_id(found[0], "m", "s") == clip_id(found[1], "m", "s")


def test_a_video_is_looked_at_before_any_work(manifest, tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", np.zeros((3, 32, 32, 3), np.uint8), 8)
    [clip] = manifest("p.jsonl", line(prompt="a", video=str(tmp_path / "a.mp4"))).requests()
    assert clip.video == str(tmp_path / "a.mp4")
    assert clip.video_sha256 == hashlib.sha256((tmp_path / "a.mp4").read_bytes()).hexdigest()


def test_what_cannot_start_a_clip_is_named_with_its_row(manifest, tmp_path: Path) -> None:
    digest = picture(tmp_path)
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    rows = [
        {"image": "dog.png"},
        {"image": "text.png"},
        {"video": "cut.mp4"},
        {"video": "."},
        {"image": "cat.png", "image_sha256": "0" * 64},
        {"image": 7},
        {"image": "cat.png", "video": "dog.mp4"},
    ]
    errors = manifest("p.jsonl", "".join(line(prompt="a", **row) for row in rows)).errors()
    fix = "Fix: paths start at the manifest's folder; name a file there, an absolute path or s3://."
    assert errors[:6] == [
        f"line 1: image: got '{tmp_path}/dog.png', no such file, expected an image. {fix}",
        f"line 2: image: got '{tmp_path}/text.png', which cannot be decoded, expected an image. "
        "Fix: save or copy it again.",
        f"line 3: video: got '{tmp_path}/cut.mp4', which cannot be decoded, expected a video. "
        "Fix: save or copy it again.",
        f"line 4: video: got '{tmp_path}', a folder, expected a video. {fix}",
        f"line 5: image_sha256: got '{'0' * 64}', expected {digest}, which {tmp_path}/cat.png has. "
        "Fix: leave it out.",
        "line 6: image: got 7, expected a string of at most 4096 characters. "
        "Fix: write it in quotes.",
    ]
    assert errors[6].startswith(f"line 7: video: got '{tmp_path}/dog.mp4', no such file")


def test_an_address_that_can_be_none_is_named_with_its_row(
    manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed" / "cat.png"
    is_file = Path.is_file

    def refused(path: Path) -> bool:  # as a folder refuses whom root's rights do not let in
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refused)
    long = "a" * 300 + ".png"
    said = [long, "~nobody-of-that-name/x.png", "s3://b/x.png", "s3://bucket/../x.png"]
    said += [str(closed), "s3://name:secret@bucket/x.png", "s3://bucket/"]
    rows = line(prompt="good") + "".join(line(prompt="a", image=image) for image in said)
    errors = manifest("p.jsonl", rows).errors()
    assert [error.partition(": got ")[0] for error in errors] == [
        f"line {number}: image" for number in range(2, 9)
    ]
    assert f"{long}', which cannot be looked at (File name too long), expected" in errors[0]
    assert "'~nobody-of-that-name/x.png', whose home folder is not known here" in errors[1]
    assert "got the bucket 'b', expected 3 to 63" in errors[2]
    assert "got '..', which has a part that starts with a dot, expected" in errors[3]
    assert "which cannot be looked at (Permission denied), expected an image" in errors[4]
    assert "credentials in it" in errors[5]
    assert "secret" not in errors[5]
    assert "which is empty" in errors[6]
    items = manifest("p.jsonl", rows).items()
    assert [isinstance(item, InvalidRow) for item in items] == [False] + [True] * 7


def test_paths_start_where_the_manifest_is():
    place = MediaPlace.beside("s3://bucket/run/rows.jsonl")
    assert place.resolve("pictures/a.png") == "s3://bucket/run/pictures/a.png"
    assert place.resolve("s3://other/a.png") == "s3://other/a.png"
    assert place.resolve("/data/a.png") == "/data/a.png"
    assert MediaPlace.beside("/data/rows.csv").resolve("a.png") == "/data/a.png"
