"""Names a motion from an object's track, by asking which motion's pattern explains it best."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from videogen.shapes.motion import DIRECTIONS, TAU

# Errors to expect of a track: positions in fractions of the frame, size in doublings of the radius.
POSITION_ERROR = 0.008
SIZE_ERROR = 0.06
MIN_TRACKED = 4
# Two neighbouring frequencies of a search drift apart by this many cycles over the clip.
DRIFT = 0.15


@dataclass(frozen=True)
class Track:
    """Where an object was: the frames `[n]` it was seen in, and signals `[3 n]`.

    The signals are x and y (fractions of the frame, unwrapped on the torus) and log2 of the radius.
    """

    frames: np.ndarray
    signals: np.ndarray
    area_px: np.ndarray


def follow(coverage: np.ndarray) -> Track | None:
    """Track an object by its coverage `[t h w]`; None if it is seen in too few frames."""
    _, height, width = coverage.shape
    area = coverage.sum(axis=(1, 2))
    seen = (
        np.flatnonzero(area > 0.15 * np.median(area[area > 0]))
        if (area > 0).any()
        else np.array([])
    )
    if len(seen) < MIN_TRACKED:
        return None
    x = _torus_centre(coverage[seen].sum(axis=1), width)
    y = _torus_centre(coverage[seen].sum(axis=2), height)
    return Track(seen, np.stack((x, y, 0.5 * np.log2(area[seen]))), area[seen])


def _torus_centre(profile: np.ndarray, size: int) -> np.ndarray:
    """Centre of mass `[t]` of profiles `[t k]` on a circle, in fractions of it, unwrapped."""
    turn = np.exp(1j * TAU * (np.arange(size) + 0.5) / size)
    return np.unwrap(np.angle(profile @ turn)) / TAU


def name_motion(track: Track, motions: tuple[str, ...]) -> tuple[str, float]:
    """The motion that explains a track best, and a confidence (0 to 1).

    "spin" leaves no trace in a track, so it is never answered here. Each motion has a family of
    patterns (its phases and frequencies) with one bounded amplitude each, fitted by least squares.
    The misfit is in units of the expected error, and free parameters cost what the Bayesian
    information criterion asks.
    """
    errors = np.array([POSITION_ERROR, POSITION_ERROR, SIZE_ERROR])[:, None]
    signals = (track.signals - track.signals.mean(axis=1, keepdims=True)) / errors
    num_values = signals.size
    costs = {}
    for motion in motions:
        if motion == "spin":
            continue
        squares, num_parameters = np.sum(signals**2), 0
        if motion != "still":
            patterns, (low, high), num_parameters = _patterns(motion, tuple(track.frames.tolist()))
            scaled = patterns / errors
            energy = np.einsum("gkn,gkn->g", scaled, scaled)
            match = np.einsum("gkn,kn->g", scaled, signals)
            amount = np.clip(match / energy, low, high)
            squares = np.min(squares - 2 * amount * match + amount**2 * energy)
        misfit = num_values * np.log1p(max(squares, 0.0) / num_values)
        costs[motion] = misfit + num_parameters * np.log(num_values)
    first, second = (*sorted(costs, key=costs.__getitem__), "still")[:2]
    return first, float(-np.expm1((costs[first] - costs[second]) / 4))


@lru_cache(maxsize=256)
def _patterns(motion: str, frames: tuple[int, ...]) -> tuple[np.ndarray, tuple[float, float], int]:
    """Centred patterns `[g 3 n]` of a motion, bounds of their amplitude, parameter count."""
    step = np.array(frames, dtype=np.float64)
    rest = np.zeros_like(step)
    if motion in DIRECTIONS:
        dx, dy = DIRECTIONS[motion]
        rows, bounds, num_parameters = [(dx * step, dy * step, rest)], (0.01, 0.08), 1
    elif motion in ("grow", "shrink"):
        sign = 1 if motion == "grow" else -1
        knees = [np.inf, *(knee for knee in (14, 15, 16, 17, 18) if knee < step[-1])]
        rows = [(rest, rest, sign * np.minimum(step, knee)) for knee in knees]
        bounds, num_parameters = (0.025, 0.12), 1
    elif motion == "bounce":
        rows = [
            (rest, -2 * np.abs(np.sin(cycle / 2)), rest) for cycle in _cycles(step, 0.08, 0.14, 16)
        ]
        bounds, num_parameters = (0.09, 0.3), 3
    elif motion == "orbit":
        cycles = [*_cycles(step, 0.045, 0.075, 24)]
        rows = [(np.cos(cycle), turn * np.sin(cycle), rest) for cycle in cycles for turn in (1, -1)]
        bounds, num_parameters = (0.1, 0.3), 3
    else:
        rows = [(np.sin(cycle), rest, rest) for cycle in _cycles(step, 0.19, 0.33, 16)]
        bounds, num_parameters = (0.025, 0.1), 3
    patterns = np.array(rows)
    return patterns - patterns.mean(axis=2, keepdims=True), bounds, num_parameters


def _cycles(
    step: np.ndarray, slowest: float, fastest: float, num_phases: int
) -> Iterator[np.ndarray]:
    """Phases in radians `[n]` over a grid of frequencies (cycles per frame) and starts."""
    num_speeds = max(3, int(np.ceil((fastest - slowest) * (step[-1] - step[0]) / DRIFT)) + 1)
    for speed in np.linspace(slowest, fastest, num_speeds):
        for phase in np.arange(num_phases) / num_phases:
            yield TAU * (speed * step + phase)
