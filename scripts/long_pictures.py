"""Pictures of long clips: contact sheets, and cuts through time along a row of the picture."""

from __future__ import annotations

import numpy as np
from PIL import Image

NUM_FRAMES, COLUMNS = 24, 12
GAP_PX = 2


def contact_sheet(frames: np.ndarray) -> Image.Image:
    """Frames spread evenly over a clip `t h w c`, in reading order."""
    chosen = frames[np.linspace(0, len(frames) - 1, NUM_FRAMES).round().astype(int)]
    padded = np.pad(chosen, ((0, 0), (0, GAP_PX), (0, GAP_PX), (0, 0)), constant_values=255)
    rows = [
        np.concatenate(list(padded[start : start + COLUMNS]), axis=1)
        for start in range(0, NUM_FRAMES, COLUMNS)
    ]
    return Image.fromarray(np.concatenate(rows))


def cut_through_time(frames: np.ndarray) -> Image.Image:
    """Mean over the rows (above) and over the columns (below) of every frame; time runs right."""
    across = frames.astype(np.float32).mean(axis=1)  # t w c
    down = frames.astype(np.float32).mean(axis=2)
    gap = np.full((GAP_PX * 2, len(frames), 3), 255.0)
    picture = np.concatenate([across.transpose(1, 0, 2), gap, down.transpose(1, 0, 2)])
    return Image.fromarray(picture.round().astype(np.uint8))
