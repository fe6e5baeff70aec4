"""`set.*`: sets of clips against each other, over a documented weights-free feature.

The distances are not comparable with published FVD, which uses another network's features; the
names carry the extractor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from videogen.errors import ConfigError

LEAST_CLIPS = 256
FEATURE = "motion-colour-gradients-1"


@dataclass(frozen=True)
class SetScore:
    """A number for a set of clips, and what has to be said with it.

    Attributes:
        num_clips: clips of the smallest set that went in.
    """

    name: str
    value: float
    num_clips: int
    backend: str = FEATURE
    warnings: tuple[str, ...] = field(default_factory=tuple)


def frechet_distance(features: np.ndarray, reference: np.ndarray) -> SetScore:
    """Fréchet distance of Gaussians fitted to two sets (Heusel et al., 2017, eq. 6).

    Both sets are divided by the reference's standard deviation first, so that every component of
    the feature counts alike. The order of clips does not matter beyond rounding.

    Args:
        features, reference: float `[n d]`, a row a clip, from `ClipMetrics.feature`.

    Raises:
        ConfigError: a set holds fewer than two clips, or the widths differ.
    """
    _check("features", features, reference.shape[-1])
    _check("reference", reference, features.shape[-1])
    spread = _spread(reference)
    (mean_a, cov_a), (mean_b, cov_b) = (_gaussian(x / spread) for x in (features, reference))
    gap = float(((mean_a - mean_b) ** 2).sum())
    value = gap + float(np.trace(cov_a) + np.trace(cov_b)) - 2 * _trace_root(cov_a, cov_b)
    fewest = min(len(features), len(reference))
    return SetScore(f"set.fd.{FEATURE}", max(0.0, value), fewest, warnings=_few(fewest))


def diversity(features: np.ndarray, reference: np.ndarray | None = None) -> SetScore:
    """Mean distance between pairs of clips, such as several seeds of one prompt.

    Args:
        features: float `[n d]`.
        reference: clips whose standard deviation is the unit; needed to compare prompts. Without
            it, the root mean square of the features themselves is.

    Raises:
        ConfigError: fewer than two clips.
    """
    _check("features", features, features.shape[-1])
    unit = _spread(reference) if reference is not None else _scale(features)
    rows = np.asarray(features, np.float64) / unit
    first, second = np.triu_indices(len(rows), 1)
    distances = np.sqrt(((rows[first] - rows[second]) ** 2).mean(axis=1))
    return SetScore(f"set.diversity.{FEATURE}", float(distances.mean()), len(rows))


def prompt_diversity(
    features: np.ndarray, prompts: Sequence[str], reference: np.ndarray | None = None
) -> tuple[SetScore, int] | None:
    """How much clips of one prompt differ: the mean over prompts of their `diversity`.

    Args:
        features: float `[n d]`.
        prompts: of each clip; a prompt counts if it has two clips or more.
        reference: clips whose standard deviation is the unit; None is all of `features`.

    Returns:
        The score, whose `num_clips` are those that count, and the number of prompts that do; None
        if none does.
    """
    every = features if reference is None else reference
    names = np.asarray(prompts, dtype=object)
    groups = [features[names == name] for name in dict.fromkeys(prompts)]
    several = [group for group in groups if len(group) > 1]
    if not several:
        return None
    found = [diversity(group, every) for group in several]
    value = float(np.mean([each.value for each in found]))
    return SetScore(found[0].name, value, sum(map(len, several))), len(several)


def _check(name: str, features: np.ndarray, width: int) -> None:
    if features.ndim != 2 or len(features) < 2 or features.shape[1] != width:
        raise ConfigError(
            f"{name}: got an array {features.shape}, expected [n {width}] with 2 clips or more. "
            "Fix: stack ClipMetrics.feature of every clip."
        )


def _few(count: int) -> tuple[str, ...]:
    if count >= LEAST_CLIPS:
        return ()
    return (f"{count} clips: below {LEAST_CLIPS} a Fréchet distance mostly measures its own bias",)


def _spread(features: np.ndarray) -> np.ndarray:
    spread = np.asarray(features, np.float64).std(axis=0)
    return np.where(spread > 1e-6, spread, 1.0)


def _scale(features: np.ndarray) -> np.ndarray:
    scale = np.sqrt((np.asarray(features, np.float64) ** 2).mean(axis=0))
    return np.where(scale > 1e-6, scale, 1.0)


def _gaussian(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = np.asarray(features, np.float64)
    return rows.mean(axis=0), np.atleast_2d(np.cov(rows, rowvar=False))


def _trace_root(one: np.ndarray, other: np.ndarray) -> float:
    """Trace of (one · other)^½, by the symmetric form that keeps eigenvalues real."""
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    inner = np.linalg.eigvalsh(root @ other @ root)
    return float(np.sqrt(np.maximum(inner, 0)).sum())
