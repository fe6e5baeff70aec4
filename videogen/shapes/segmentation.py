"""Finds the objects of a clip by colour: one soft mask over time for each."""

from dataclasses import dataclass

import numpy as np

from videogen.shapes.vocabulary import COLOUR_RGB

# A pixel this far from the background, in 8-bit RGB levels, is not background.
FOREGROUND = 44.0
# Mixing shares of the object's colour that become coverage 0 and 1: steeper than the truth, deaf to noise.
SHARE_LOW, SHARE_HIGH = 0.25, 0.75
# An object is at least this share of the picture, and a second one this share of the first.
MIN_AREA = 0.004
MIN_SECOND = 0.2
REACH_PX = 3


@dataclass(frozen=True)
class Segment:
    """One object: its colour name, its coverage `[t h w]` in float32 (0 to 1), and how sure the colour is (0 to 1)."""

    colour: str
    coverage: np.ndarray
    confidence: float


def find_segments(
    frames: np.ndarray, backdrop: np.ndarray, colours: tuple[str, ...], max_objects: int
) -> tuple[Segment, ...]:
    """The up to `max_objects` objects of float32 `frames` `[t h w c]` over `backdrop` `[h w c]`, largest first."""
    offset = frames - backdrop
    distance = np.sqrt(np.einsum("thwc,thwc->thw", offset, offset))
    core = _erode(distance > FOREGROUND)
    if core.mean() < MIN_AREA:
        return ()
    palette = np.float32([COLOUR_RGB[name] for name in colours])
    pixels = frames[core]
    gaps = np.linalg.norm(pixels[:, None] - palette, axis=-1)
    labels = np.argmin(gaps, axis=1)
    # Pixels far from the background are the least mixed with it, so their vote counts for more.
    votes = np.bincount(labels, weights=distance[core] ** 2, minlength=len(colours))
    ranked = np.argsort(-votes)[:max_objects]
    counts = np.bincount(labels, minlength=len(colours))
    chosen = [i for i in ranked if i == ranked[0] or _is_object(counts, i, ranked[0], distance.size)]

    label_map = np.full(distance.shape, -1, np.int8)
    label_map[core] = labels
    sources = [np.median(pixels[labels == i], axis=0) for i in chosen]
    shares, misfits = zip(*(_unmix(offset, source - backdrop) for source in sources), strict=True)
    owner = np.argmin(misfits, axis=0)
    segments = []
    for place, index in enumerate(chosen):
        coverage = np.clip((shares[place] - SHARE_LOW) / (SHARE_HIGH - SHARE_LOW), 0, 1)
        own = label_map == index if len(chosen) > 1 else core
        coverage = np.where((owner == place) & _dilate(own, REACH_PX), coverage, 0)
        segments.append(Segment(colours[index], coverage, _certainty(gaps[labels == index], index)))
    return tuple(segments)


def _is_object(counts: np.ndarray, index: int, first: int, num_pixels: int) -> bool:
    return bool(counts[index] > MIN_SECOND * counts[first] and counts[index] > MIN_AREA * num_pixels)


def _unmix(offset: np.ndarray, ray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share `[t h w]` of an object's colour in each pixel, and the colour distance that it leaves unexplained."""
    length = np.maximum(np.einsum("hwc,hwc->hw", ray, ray), 1e-3)
    share = np.clip(np.einsum("thwc,hwc->thw", offset, ray) / length, 0, 1)
    rest = offset - share[..., None] * ray
    return share, np.einsum("thwc,thwc->thw", rest, rest)


def _certainty(gaps: np.ndarray, index: int) -> float:
    """How much nearer the pixels are to colour `index` than to the next: 1 when on it, 0 half way."""
    typical = np.median(gaps, axis=0)
    others = np.delete(typical, index)
    return float(np.clip(1 - typical[index] / others.min(), 0, 1)) if others.size else 1.0


def _erode(mask: np.ndarray) -> np.ndarray:
    """Pixels of `[t h w]` whose four neighbours are set as well; the picture is a torus."""
    return (
        mask
        & np.roll(mask, 1, axis=1)
        & np.roll(mask, -1, axis=1)
        & np.roll(mask, 1, axis=2)
        & np.roll(mask, -1, axis=2)
    )


def _dilate(mask: np.ndarray, reach_px: int) -> np.ndarray:
    """Grow a mask `[t h w]` by `reach_px` in every direction, on the torus."""
    for axis in (1, 2):
        grown = mask.copy()
        for shift in range(1, reach_px + 1):
            grown |= np.roll(mask, shift, axis=axis) | np.roll(mask, -shift, axis=axis)
        mask = grown
    return mask
