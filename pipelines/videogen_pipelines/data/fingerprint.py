"""A perceptual hash of a clip: the same for copies that were scaled or encoded again.

Four frames, evenly spread. Of each, 64 bits of the signs of the lowest frequencies of its
brightness about their median (Zauner, "Implementation and Benchmarking of Perceptual Image Hash
Functions", 2010), and the mean colours of its quarters, because shapes that differ in colour alone
are no copies.
"""

from __future__ import annotations

import numpy as np

NUM_FRAMES = 4
BITS = 64 * NUM_FRAMES
_SIDE_PX = 32
_LOWEST = 8
_BIT_BYTES = BITS // 8
NUM_BYTES = _BIT_BYTES + 4 * 3 * NUM_FRAMES
MAX_COLOUR = 10
"""Largest difference of a mean colour, of 255, that an encoder or a scaler makes."""


def sampled(num_frames: int) -> tuple[int, ...]:
    """Which frames of a clip are looked at: the middles of its quarters."""
    return tuple((2 * i + 1) * num_frames // (2 * NUM_FRAMES) for i in range(NUM_FRAMES))


class Fingerprint:
    """Takes the frames of a clip in any portions; memory does not grow with the clip."""

    def __init__(self, num_frames: int) -> None:
        self._wanted = sampled(num_frames)
        self._seen = 0
        self._bits: list[np.ndarray] = []
        self._colours: list[np.ndarray] = []

    def add(self, frames: np.ndarray) -> None:
        """Take the next frames, uint8 `t h w c`."""
        for index in self._wanted[len(self._bits) :]:
            if index >= self._seen + len(frames):
                break
            bits, colours = _of_frame(frames[index - self._seen])
            self._bits.append(bits)
            self._colours.append(colours)
        self._seen += len(frames)

    def finish(self) -> str:
        """The hash in hexadecimal digits; empty if the clip was shorter than it should be."""
        if len(self._bits) < NUM_FRAMES:
            return ""
        bits = np.packbits(np.concatenate(self._bits))
        return bits.tobytes().hex() + np.concatenate(self._colours).tobytes().hex()


def unpack(fingerprint: str) -> tuple[np.ndarray, np.ndarray]:
    """The bits, uint8 of 0 and 1, and the colours, uint8."""
    data = np.frombuffer(bytes.fromhex(fingerprint), np.uint8)
    return np.unpackbits(data[:_BIT_BYTES]), data[_BIT_BYTES:]


def _of_frame(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import cv2

    small = cv2.resize(frame, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    low = cv2.dct(grey)[:_LOWEST, :_LOWEST].reshape(-1)
    bits = low > np.median(low[1:])
    quarters = cv2.resize(small, (2, 2), interpolation=cv2.INTER_AREA)
    return bits, quarters.reshape(-1)
