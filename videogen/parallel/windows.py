"""Attention of frames to the frames around them, without the mask of all tokens.

That mask holds `(t s)²` entries on every rank, however few tokens a rank has. Frames see a range of
frames, so taking the keys of that range does without, and computes no score that is masked.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from videogen.models.attention import attention


@dataclass(frozen=True)
class Window:
    """Frames `start` to `stop` of the queries see frames `first` to `last` of the keys."""

    start: int
    stop: int
    first: int
    last: int


def find_windows(mask: Tensor) -> list[Window]:
    """The windows of a bool `t t` mask in which each frame sees a range of frames."""
    windows: list[Window] = []
    for frame, row in enumerate(mask.tolist()):
        first, last = row.index(True), len(row) - row[::-1].index(True)
        assert all(row[first:last]), "a frame sees the frames of one range"
        if windows and (windows[-1].first, windows[-1].last) == (first, last):
            windows[-1] = Window(windows[-1].start, frame + 1, first, last)
        else:
            windows.append(Window(frame, frame + 1, first, last))
    return windows


def attention_in_windows(
    q: Tensor, k: Tensor, v: Tensor, windows: list[Window], s: int, backend: str
) -> Tensor:
    """Attend within windows; q, k, v are `b n (t s) k` with `s` tokens in every frame."""
    parts = [
        attention(
            q[:, :, w.start * s : w.stop * s],
            k[:, :, w.first * s : w.last * s],
            v[:, :, w.first * s : w.last * s],
            backend=backend,
        )
        for w in windows
    ]
    return torch.cat(parts, dim=2)
