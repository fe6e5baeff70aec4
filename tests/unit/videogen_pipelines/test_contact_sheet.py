from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from videogen.storage import LocalStorage, MissingKeyError
from videogen_pipelines.commit import commit_clip
from videogen_pipelines.contact_sheet import (
    BACKGROUND,
    MARGIN,
    SheetClip,
    draw_sheet,
    pick_frames,
    pick_indices,
    write_contact_sheet,
)
from videogen_pipelines.keys import clip_key
from videogen_pipelines.sidecar import Sidecar


def shades(num_frames: int, height: int = 16, width: int = 24) -> np.ndarray:
    levels = np.arange(num_frames, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(levels, (num_frames, height, width, 3))


def sheet_clip(
    height: int = 16, width: int = 24, num: int = 5, caption: str = "a cat"
) -> SheetClip:
    thumbs = [np.full((height, width, 3), 255, np.uint8)] * num
    return SheetClip(thumbs, [0.0] * num, caption, "id   5 frames")


@pytest.mark.parametrize(
    ("num_frames", "expected"),
    [
        (1, [0]),
        (2, [0, 1]),
        (5, [0, 1, 2, 3, 4]),
        (33, [0, 8, 16, 24, 32]),
        (81, [0, 20, 40, 60, 80]),
    ],
)
def test_frames_are_spread_from_the_first_to_the_last(num_frames: int, expected: list[int]) -> None:
    assert pick_indices(num_frames) == expected


@pytest.mark.parametrize("chunk", [1, 4, 7, 32, 100])
def test_frames_are_picked_from_a_stream(chunk: int) -> None:
    frames = shades(33)
    chunks = (frames[first : first + chunk] for first in range(0, 33, chunk))
    picked = pick_frames(chunks, [0, 8, 16, 24, 32])
    assert [int(frame[0, 0, 0]) for frame in picked] == [0, 8, 16, 24, 32]
    assert picked[0].shape == (16, 24, 3)


def white_blocks(sheet: Image.Image) -> int:
    """How many thumbnails the sheet shows, counted along one line through each row of them."""
    grey = np.asarray(sheet.convert("L")) > 250
    is_row = grey.mean(axis=1) > 0.2
    tops = np.flatnonzero(is_row & ~np.roll(is_row, 1))
    return sum(int((grey[top + 8] & ~np.roll(grey[top + 8], 1)).sum()) for top in tops)


@pytest.mark.parametrize("num_clips", [1, 3, 4, 7])
def test_every_frame_of_every_clip_is_on_the_sheet(num_clips: int) -> None:
    sheet = draw_sheet([sheet_clip() for _ in range(num_clips)])
    assert white_blocks(sheet) == 5 * num_clips


def test_several_narrow_clips_stand_in_two_columns_and_wide_ones_do_not() -> None:
    narrow, one = draw_sheet([sheet_clip(16, 16)] * 6), draw_sheet([sheet_clip(16, 16)])
    assert narrow.width > 1.9 * one.width - 2 * MARGIN
    assert draw_sheet([sheet_clip(16, 64)] * 6).width == draw_sheet([sheet_clip(16, 64)]).width


@pytest.mark.parametrize("size", [(480, 832), (832, 480), (8, 8), (64, 2048), (2048, 64)])
def test_thumbs_keep_the_aspect_of_the_clip(size: tuple[int, int]) -> None:
    sheet = draw_sheet([sheet_clip(*size, num=1)])
    rows, columns = np.nonzero(np.asarray(sheet.convert("L")) > 254)
    near = rows < MARGIN + 132  # the thumb, not the text
    height, width = np.ptp(rows[near]) + 1, np.ptp(columns[near]) + 1
    assert height <= 132
    assert width <= 240
    assert width / height == pytest.approx(size[1] / size[0], rel=0.15)


@pytest.mark.parametrize(
    "caption", ["word " * 200, "x" * 3000, "", "猫 🐈 \n\t two\nlines", "é" * 50]
)
def test_any_caption_stays_inside_the_sheet(caption: str) -> None:
    plain = draw_sheet([sheet_clip(caption="a cat")])
    sheet = draw_sheet([sheet_clip(caption=caption)], title=caption[:300])
    assert sheet.width == plain.width
    assert sheet.height <= plain.height + 100
    assert (np.asarray(sheet)[:, -MARGIN + 2 :] == BACKGROUND).all()


def commit(storage: LocalStorage, clips: Any, *names: str) -> list[Sidecar]:
    sidecars: list[Sidecar] = []
    for name in names:
        provenance = clips.provenance(name)
        path = clips.file(provenance)
        sidecars.append(commit_clip(storage, path, provenance, clips.inspect).sidecar)
    return sidecars


def read(path: Path) -> Iterator[np.ndarray]:
    assert path.exists()
    yield np.full((5, 16, 24, 3), 255, np.uint8)


def test_a_sheet_is_stored_and_replaced(storage: LocalStorage, clips: Any) -> None:
    sidecars = commit(storage, clips, "a", "b")
    assert write_contact_sheet(storage, sidecars, "out", read) == "contact_sheet.png"
    first = Image.open(io.BytesIO(storage.read("contact_sheet.png")))
    assert first.format == "PNG"
    assert white_blocks(first) == 10
    write_contact_sheet(storage, sidecars[:1], "out", read)
    assert white_blocks(Image.open(io.BytesIO(storage.read("contact_sheet.png")))) == 5


def test_no_clips_no_sheet(storage: LocalStorage) -> None:
    assert write_contact_sheet(storage, [], "out", read) is None
    assert not storage.exists("contact_sheet.png")


def test_a_clip_that_is_gone_is_an_error(storage: LocalStorage, clips: Any) -> None:
    sidecars = commit(storage, clips, "a")
    storage.delete(clip_key("a"))
    with pytest.raises(MissingKeyError, match=r"a\.mp4"):
        write_contact_sheet(storage, sidecars, "out", read)
