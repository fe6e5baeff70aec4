"""A contact sheet: one PNG that shows a run at a glance, five frames and a caption per clip."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from videogen.storage import Storage, local_copy
from videogen_pipelines.sidecar import Sidecar

SHEET_KEY = "contact_sheet.png"
NUM_FRAMES = 5
THUMB_HEIGHT = 132
MAX_THUMB_WIDTH = 240
GAP, MARGIN, COLUMN_GAP, CLIP_GAP = 4, 28, 36, 26
TEXT_SIZE, SMALL_SIZE, TITLE_SIZE = 15, 12, 20
MAX_CAPTION_LINES = 2
BACKGROUND, TEXT, DIM = (18, 19, 22), (232, 233, 236), (140, 144, 152)

Frames = Iterable[np.ndarray]  # chunks, uint8 `t h w c`
FrameReader = Callable[[Path], Frames]


@dataclass(frozen=True)
class SheetClip:
    """A clip as the sheet shows it: `thumbs` uint8 `h w c`, each with its time below."""

    thumbs: Sequence[np.ndarray]
    times_s: Sequence[float]
    caption: str
    details: str


def write_contact_sheet(
    storage: Storage,
    sidecars: Iterable[Sidecar],
    title: str = "",
    read: FrameReader | None = None,
) -> str | None:
    """Draw the clips of `sidecars` and store the sheet.

    Args:
        read: yields a file's frames in chunks; None uses `videogen.media`.

    Returns:
        The key of the PNG, or None if there are no clips to show.

    Raises:
        MediaError: a clip cannot be decoded.
        StorageError: the storage failed, or a clip is gone although its sidecar stands.
    """
    clips = [_load(storage, sidecar, read or _media_reader()) for sidecar in sidecars]
    if not clips:
        return None
    png = io.BytesIO()
    draw_sheet(clips, title).save(png, "PNG", optimize=True)
    storage.put(SHEET_KEY, png.getvalue())
    return SHEET_KEY


def pick_indices(num_frames: int, count: int = NUM_FRAMES) -> list[int]:
    """Up to `count` frame numbers, evenly spread from the first to the last."""
    count = min(count, num_frames)
    return [round(index) for index in np.linspace(0, num_frames - 1, count)]


def pick_frames(chunks: Frames, indices: Sequence[int]) -> list[np.ndarray]:
    """The frames `h w c` of those numbers, in memory of one chunk."""
    picked: list[np.ndarray] = []
    first = 0
    for chunk in chunks:
        picked += [chunk[i - first].copy() for i in indices if first <= i < first + len(chunk)]
        first += len(chunk)
    return picked


def draw_sheet(clips: Sequence[SheetClip], title: str = "") -> Image.Image:
    """The sheet: clips in one column, or two where there are several and they are narrow."""
    cells = [_draw_clip(clip) for clip in clips]
    column_width = max(cell.width for cell in cells)
    num_columns = 2 if len(cells) > 3 and column_width <= 760 else 1
    rows = [cells[i : i + num_columns] for i in range(0, len(cells), num_columns)]
    heights = [max(cell.height for cell in row) for row in rows]
    header = TITLE_SIZE + 20 if title else 0
    width = 2 * MARGIN + num_columns * column_width + (num_columns - 1) * COLUMN_GAP
    height = 2 * MARGIN + header + sum(heights) + CLIP_GAP * (len(rows) - 1)
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    if title:
        text = _ellipsis(title, _font(TITLE_SIZE), width - 2 * MARGIN)
        ImageDraw.Draw(sheet).text((MARGIN, MARGIN - 6), text, TEXT, _font(TITLE_SIZE))
    top = MARGIN + header
    for row, row_height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            sheet.paste(cell, (MARGIN + column * (column_width + COLUMN_GAP), top))
        top += row_height + CLIP_GAP
    return sheet


def _draw_clip(clip: SheetClip) -> Image.Image:
    thumbs = [_thumb(frame) for frame in clip.thumbs]
    strip = sum(thumb.width + GAP for thumb in thumbs) - GAP
    width = max(strip, 420)
    lines = _wrap(clip.caption, _font(TEXT_SIZE), width)
    below = thumbs[0].height + SMALL_SIZE + 14
    line_height = TEXT_SIZE + 5
    details_top = below + len(lines) * line_height + 3
    cell = Image.new("RGB", (width, details_top + SMALL_SIZE + 6), BACKGROUND)
    draw = ImageDraw.Draw(cell)
    left = 0
    for thumb, time_s in zip(thumbs, clip.times_s, strict=True):
        cell.paste(thumb, (left, 0))
        draw.text((left + 1, thumb.height + 4), f"{time_s:.2f} s", DIM, _font(SMALL_SIZE))
        left += thumb.width + GAP
    for number, line in enumerate(lines):
        draw.text((0, below + number * line_height), line, TEXT, _font(TEXT_SIZE))
    details = _ellipsis(clip.details, _font(SMALL_SIZE), width)
    draw.text((0, details_top), details, DIM, _font(SMALL_SIZE))
    return cell


def _thumb(frame: np.ndarray) -> Image.Image:
    """`frame` at the sheet's height, or at its greatest width if it is very wide."""
    height, width = frame.shape[:2]
    scale = min(THUMB_HEIGHT / height, MAX_THUMB_WIDTH / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return Image.fromarray(np.ascontiguousarray(frame)).resize(size, Image.Resampling.LANCZOS)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _wrap(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """`text` in at most `MAX_CAPTION_LINES` lines, the last one cut short where needed."""
    lines: list[str] = []
    words = text.split()
    while words and len(lines) < MAX_CAPTION_LINES - 1:
        count = len(words)
        while count > 1 and font.getlength(" ".join(words[:count])) > width:
            count -= 1
        lines.append(_ellipsis(" ".join(words[:count]), font, width))
        words = words[count:]
    if words:
        lines.append(_ellipsis(" ".join(words), font, width))
    return lines


def _ellipsis(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(text[:middle] + "…") <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…"


def _load(storage: Storage, sidecar: Sidecar, read: FrameReader) -> SheetClip:
    indices = pick_indices(sidecar.frames)
    with local_copy(storage, sidecar.key) as path:
        thumbs = pick_frames(read(path), indices)
    request = sidecar.request
    details = (
        f"{sidecar.id}   {sidecar.frames} frames   {request.width} x {request.height} px   "
        f"{request.fps:g} fps   seed {request.seed}"
    )
    times_s = [index / request.fps for index in indices[: len(thumbs)]]
    return SheetClip(thumbs, times_s, request.prompt or "(no prompt)", details)


def _media_reader() -> FrameReader:
    from videogen.media import iter_video

    def read(path: Path) -> Iterator[np.ndarray]:
        yield from iter_video(path)

    return read
