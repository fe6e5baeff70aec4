"""What a clip starts with, as frames of the clip: a picture, or the last frames of a video.

Frames are scaled so that they just cover the clip (Lanczos, antialiased), and what is beyond its
size is cut from both sides alike. Pictures and videos are turned upright as they say they are to be
shown; what is transparent is shown over black. Of a video, frames are taken at the rate of the
clip, back from the last one, so that motion goes on at its speed; a video of a lower rate is taken
frame by frame.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from videogen.errors import MediaError
from videogen.media.container import quarter_turns
from videogen.media.reader import iter_video, probe

_CHUNK = 8


def check_picture(path: str | Path) -> tuple[int, int]:
    """Read a picture's header; returns (height, width) in pixels, before it is turned upright.

    Raises:
        MediaError: it is no picture, or one too large to be decoded safely.
    """
    with _opened(Path(path)) as picture:
        return picture.height, picture.width


def read_picture(path: str | Path, height: int, width: int) -> np.ndarray:
    """A picture as one frame, RGB uint8 `t h w c`, t = 1, of the size given in pixels.

    Raises:
        MediaError: it is no picture, or it is damaged.
    """
    with _opened(Path(path)) as picture:
        upright = _of_8_bits(ImageOps.exif_transpose(picture)).convert("RGBA")
        shown = Image.alpha_composite(Image.new("RGBA", upright.size, "black"), upright)
        return np.array(_fitted(shown.convert("RGB"), height, width))[None]


def last_frames(path: str | Path, count: int, fps: float, height: int, width: int) -> np.ndarray:
    """The end of a video at `fps` frames a second, RGB uint8 `t h w c`, t at most `count`.

    All of the video is decoded; no more of it is kept than is returned.

    Raises:
        MediaError: it is no video, or it is damaged.
    """
    info, turns = probe(path), quarter_turns(path)
    step = max(1.0, info.fps / fps)
    wanted = {info.num_frames - 1 - round(step * index) for index in range(count)}
    kept: deque[np.ndarray] = deque(maxlen=count)
    index = 0
    for frame in (frame for frames in iter_video(path, chunk=_CHUNK) for frame in frames):
        if index in wanted:
            upright = Image.fromarray(np.rot90(frame, turns))
            kept.append(np.asarray(_fitted(upright, height, width)))
        index += 1
    if not kept:
        raise MediaError(
            f"video file: got {path}, which says it has {info.num_frames} frames and holds "
            f"{index}, expected a whole video. Fix: make or copy the file again."
        )
    return np.stack(kept)


def _of_8_bits(picture: Image.Image) -> Image.Image:
    """A picture whose greys of 16 bits, which Pillow would clip, are scaled to 8."""
    if not picture.mode.startswith("I"):  # I, I;16, I;16B, …
        return picture
    greys = np.rint(np.asarray(picture) / 257).clip(0, 255)
    return Image.fromarray(greys.astype(np.uint8))


def _fitted(picture: Image.Image, height: int, width: int) -> Image.Image:
    scale = max(width / picture.width, height / picture.height)
    # Rounding may leave a little less than nothing to cut, which Pillow would refuse.
    cut_x = max(0.0, picture.width - width / scale)
    cut_y = max(0.0, picture.height - height / scale)
    box = (cut_x / 2, cut_y / 2, picture.width - cut_x / 2, picture.height - cut_y / 2)
    return picture.resize((width, height), Image.Resampling.LANCZOS, box=box)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture whose pixels are decoded when they are asked for."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                yield picture
    except (
        OSError,
        SyntaxError,
        ValueError,
        UnidentifiedImageError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise MediaError(
            f"picture: got {path}, which cannot be decoded ({error}), expected a whole PNG, JPEG "
            "or WebP. Fix: save it again."
        ) from error
