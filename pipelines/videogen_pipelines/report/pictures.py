"""Small still pictures of a clip: its poster, slices through time, and where things move."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from videogen.evaluation.flow import dis_flow, lengths
from videogen.media import iter_video, probe

POSTER_PX = 320
SLICE_PX = 160
MAX_SLICE_FRAMES = 240
FLOW_PAIRS = 4
GAP_PX = 3
_GREY = 128


@dataclass(frozen=True)
class ClipPictures:
    """JPEG files by kind (`poster`, `xt`, `yt`, `flow`), and what the file says of itself."""

    files: dict[str, bytes]
    num_frames: int
    fps: float
    height: int
    width: int


def draw_pictures(path: Path, only_poster: bool = False) -> ClipPictures:
    """Decode a clip once, in bounded memory, and draw its pictures.

    Raises:
        MediaError: the file is missing, damaged or no video.
    """
    info = probe(path)
    first, frames = _pick(iter_video(path), info.num_frames, only_poster)
    files = {"poster": _jpeg(_fit(first, POSTER_PX))}
    if not only_poster and len(frames) > 1:
        stack = np.stack(frames)
        files |= {
            "xt": _jpeg(_slice(stack)),
            "yt": _jpeg(_slice(stack.transpose(0, 2, 1, 3))),
            "flow": _jpeg(flow_picture(stack)),
        }
    return ClipPictures(files, info.num_frames, info.fps, info.height, info.width)


def flow_picture(frames: np.ndarray) -> np.ndarray:
    """Where things move, uint8 `h w c`: flow between pairs of frames `t h w c`.

    The pairs are spread over the clip. Hue is the direction, brightness the speed against the
    fastest of them; still is black.
    """
    last = len(frames) - 1
    starts = sorted({round(x) for x in np.linspace(0, last - 1, min(FLOW_PAIRS, last))})
    grey = {i: cv2.cvtColor(frames[i], cv2.COLOR_RGB2GRAY) for s in starts for i in (s, s + 1)}
    flows = [dis_flow(_large(grey[s]), _large(grey[s + 1])) for s in starts]
    fastest = max(0.5, *(float(np.quantile(lengths(flow), 0.99)) for flow in flows))
    return _side_by_side([_coloured(flow, fastest) for flow in flows])


def _pick(
    chunks: Iterable[np.ndarray], num_frames: int, only_first: bool
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The first frame, and up to `MAX_SLICE_FRAMES` small ones evenly spread."""
    step = max(1, math.ceil(max(1, num_frames) / MAX_SLICE_FRAMES))
    small: list[np.ndarray] = []
    first: np.ndarray | None = None
    done = 0
    for chunk in chunks:
        if first is None:
            first = chunk[0].copy()
        if only_first:
            break
        small += [_fit(chunk[i], SLICE_PX) for i in range(-done % step, len(chunk), step)]
        done += len(chunk)
    assert first is not None, "a reader yields at least one frame or raises"
    return first, small


def _slice(frames: np.ndarray) -> np.ndarray:
    """The line of pixels in which most happens, over time: `t h w c` to `t w c`, time downwards."""
    activity = frames.astype(np.float32).std(axis=0).mean(axis=(1, 2))
    line = frames[:, int(activity.argmax())]
    repeats = max(1, round(SLICE_PX / 2 / len(line)))
    return np.repeat(line, repeats, axis=0)


def _coloured(flow: np.ndarray, fastest: float) -> np.ndarray:
    angle = np.arctan2(flow[..., 1], flow[..., 0])
    hue = ((angle + np.pi) / (2 * np.pi) * 179).astype(np.uint8)
    value = (np.clip(lengths(flow) / fastest, 0, 1) * 255).astype(np.uint8)
    hsv = np.stack([hue, np.full_like(hue, 200), value], axis=-1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _side_by_side(images: list[np.ndarray]) -> np.ndarray:
    gap = np.full((len(images[0]), GAP_PX, 3), _GREY, np.uint8)
    parts = [part for image in images for part in (image, gap)]
    return np.concatenate(parts[:-1], axis=1)


def _fit(frame: np.ndarray, most: int) -> np.ndarray:
    """`frame` with its longer side at most `most` pixels."""
    height, width = frame.shape[:2]
    scale = most / max(height, width)
    if scale >= 1:
        return frame.copy()
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def _large(grey: np.ndarray) -> np.ndarray:
    """At least 64 pixels a side, which the flow needs."""
    scale = max(1.0, 64 / min(grey.shape))
    return grey if scale == 1 else cv2.resize(grey, None, fx=scale, fy=scale)


def _jpeg(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, "JPEG", quality=82, optimize=True)
    return file.getvalue()
