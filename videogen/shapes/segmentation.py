"""Finds the objects of a clip by colour: one soft mask over time for each."""

from dataclasses import dataclass

import numpy as np

from videogen.shapes.backdrop import colour_distance
from videogen.shapes.vocabulary import COLOUR_RGB

# A pixel this far from the background, in 8-bit RGB levels, is not background.
FOREGROUND = 36.0
# Mixing shares that become coverage 0 and 1: steeper than the truth, and deaf to noise.
SHARE_LOW, SHARE_HIGH = 0.25, 0.75
# An object is between these shares of the picture, and a second one this share of the first.
MIN_AREA = 0.004
MAX_AREA = 0.8
MIN_SECOND = 0.15
# A colour that mostly lies next to another is that one's blurred edge.
MAX_FRINGE = 0.5
REACH_PX = 3


@dataclass(frozen=True)
class Segment:
    """One object: colour name, coverage `[t h w]` (0 to 1), how sure the colour is (0 to 1)."""

    colour: str
    coverage: np.ndarray
    confidence: float


def find_segments(
    frames: np.ndarray, backdrop: np.ndarray, colours: tuple[str, ...], max_objects: int
) -> tuple[Segment, ...]:
    """The objects of a clip, told apart by colour, largest first.

    Args:
        frames: float32 `[t h w c]`, 0 to 255.
        backdrop: float32 `[h w c]`, the colour expected behind the objects.
        colours: the colour names to choose from.
        max_objects: how many to find at most.
    """
    distance = colour_distance(frames, backdrop)
    core = _erode(distance > FOREGROUND)
    if not MIN_AREA <= core.mean() <= MAX_AREA:
        return ()
    palette = np.array([COLOUR_RGB[name] for name in colours], np.float32)
    pixels = frames[core]
    gaps = colour_distance(pixels[:, None], palette)
    labels = np.argmin(gaps, axis=1)
    # Pixels far from the background are the least mixed with it, so their vote counts for more.
    votes = np.bincount(labels, weights=distance[core] ** 2, minlength=len(colours))
    label_map = np.full(distance.shape, -1, np.int8)
    label_map[core] = labels
    chosen = _choose(label_map, distance, np.argsort(-votes), max_objects)
    offset = frames - backdrop
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


def _choose(
    label_map: np.ndarray, distance: np.ndarray, ranked: np.ndarray, max_objects: int
) -> list[int]:
    """The colours, best first, whose pixels in `label_map` `[t h w]` are an object of their own.

    An edge mixes its object with the background, so it is nearer to the background than the object.
    """
    chosen = [int(ranked[0])]
    first_count = np.count_nonzero(label_map == ranked[0])
    for index in ranked[1:]:
        own = label_map == index
        count = np.count_nonzero(own)
        if len(chosen) == max_objects or count < MIN_AREA * label_map.size:
            break
        contrast = np.median(distance[own])
        stronger = [i for i in chosen if np.median(distance[label_map == i]) > contrast]
        beside = _dilate(np.isin(label_map, stronger), 1)
        if count > MIN_SECOND * first_count and np.count_nonzero(own & beside) < MAX_FRINGE * count:
            chosen.append(int(index))
    return chosen


def _unmix(offset: np.ndarray, ray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share `[t h w]` of an object's colour in each pixel, and the squared distance left over."""
    length = np.maximum(np.einsum("hwc,hwc->hw", ray, ray), 1e-3)
    share = np.clip(np.einsum("thwc,hwc->thw", offset, ray) / length, 0, 1)
    rest = offset - share[..., None] * ray
    return share, np.einsum("thwc,thwc->thw", rest, rest)


def _certainty(gaps: np.ndarray, index: int) -> float:
    """How much nearer the pixels are to colour `index` than to the next: 1 on it, 0 half way."""
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
