"""Where the weights of a file and those of a model differ, in words for an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MAX_NAMES_SHOWN = 5
Shapes = Mapping[str, Sequence[int]]


def misfits(expected: Shapes, found: Shapes) -> list[str]:
    """Keys that are missing, unexpected or of another shape; nothing where all fits."""
    both = expected.keys() & found.keys()
    shapes = sorted(key for key in both if tuple(expected[key]) != tuple(found[key]))
    kinds = {
        "missing": sorted(expected.keys() - found.keys()),
        "unexpected": sorted(found.keys() - expected.keys()),
        "other shape": [
            f"{key} {tuple(found[key])} instead of {tuple(expected[key])}" for key in shapes
        ],
    }
    return [f"{len(keys)} {kind} ({listed(keys)})" for kind, keys in kinds.items() if keys]


def listed(keys: Sequence[str]) -> str:
    """The first few of some names."""
    return ", ".join(keys[:MAX_NAMES_SHOWN]) + (", …" if len(keys) > MAX_NAMES_SHOWN else "")
