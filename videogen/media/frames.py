"""Arrays of frames: between model values and pixels, and many small frames on one sheet."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np

from videogen.errors import InvalidRequestError, NonFiniteError

SHEET_BACKGROUND = 24
SHEET_TEXT = 224
SHEET_GAP_PX = 4
SHEET_FONT_PX = 13


def to_uint8(values: Any) -> np.ndarray:
    """Turn model values into pixels, rounding to the nearest and clipping.

    Args:
        values: float `c t h w` with -1 black and 1 white, a NumPy array or a tensor on any device.

    Returns:
        uint8 `t h w c`, contiguous.

    Raises:
        NonFiniteError: a value is NaN or infinite.
    """
    array = _as_numpy(values)
    _check_ndim("values", array, "c t h w")
    if not np.isfinite(array).all():
        count = array.size - np.isfinite(array).sum()
        raise NonFiniteError(
            f"frames: got {count} NaN or infinite values of {array.size}, expected none. "
            "Fix: decode in float32, or lower guidance_scale."
        )
    pixels = np.rint((array + 1) * 127.5).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(pixels, 0, -1))


def to_float(frames: np.ndarray) -> np.ndarray:
    """Turn pixels into model values; `to_uint8` gives exactly the same pixels back.

    Args:
        frames: uint8 `t h w c`.

    Returns:
        float32 `c t h w` in [-1, 1], contiguous.
    """
    _check_ndim("frames", frames, "t h w c")
    values = np.moveaxis(frames, -1, 0).astype(np.float32, order="C")
    return values / np.float32(127.5) - np.float32(1)


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray]], labels: Sequence[str] | None = None
) -> np.ndarray:
    """Lay frames out in rows, each under its label; the frames keep their size.

    Args:
        rows: RGB uint8 frames `h w c`, of any sizes; rows may differ in length.
        labels: one per row, cut with an ellipsis where it is wider than the sheet.

    Returns:
        RGB uint8 `h w c`.

    Raises:
        InvalidRequestError: there is no frame at all, or not one label per row.
    """
    frames = [frame for row in rows for frame in row]
    if not frames:
        raise InvalidRequestError("rows: got no frame, expected at least one to show.")
    if labels is not None and len(labels) != len(rows):
        raise InvalidRequestError(f"labels: got {len(labels)}, expected one per row, {len(rows)}.")
    cell_height = max(frame.shape[0] for frame in frames) + SHEET_GAP_PX
    cell_width = max(frame.shape[1] for frame in frames) + SHEET_GAP_PX
    width = cell_width * max(map(len, rows)) + SHEET_GAP_PX
    bands = []
    for index, row in enumerate(rows):
        if labels is not None:
            bands.append(_label_band(labels[index], width))
        band = _blank(cell_height, width)
        for column, frame in enumerate(row):
            left = SHEET_GAP_PX + column * cell_width
            band[: frame.shape[0], left : left + frame.shape[1]] = frame
        bands.append(band)
    return np.concatenate([_blank(SHEET_GAP_PX, width), *bands])


def _label_band(text: str, width: int) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    band = Image.fromarray(_blank(SHEET_FONT_PX + 2 * SHEET_GAP_PX, width))
    draw = ImageDraw.Draw(band)
    font = ImageFont.load_default(SHEET_FONT_PX)
    text, room = " ".join(text.split()), width - 2 * SHEET_GAP_PX
    if draw.textlength(text, font) > room:
        lengths = range(len(text))
        fits = bisect_right(lengths, room, key=lambda n: draw.textlength(text[:n] + "…", font))
        text = text[: fits - 1] + "…" if fits else ""
    draw.text((SHEET_GAP_PX, 2), text, fill=(SHEET_TEXT,) * 3, font=font)
    return np.asarray(band)


def _blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), SHEET_BACKGROUND, np.uint8)


def _as_numpy(values: Any) -> np.ndarray:
    """A float32 array; a tensor is recognised by what it can do, so that torch is not needed."""
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy()
    return np.asarray(values, dtype=np.float32)


def _check_ndim(name: str, array: np.ndarray, axes: str) -> None:
    if array.ndim != len(axes.split()):
        raise InvalidRequestError(f"{name}: got shape {array.shape}, expected {axes}.")
