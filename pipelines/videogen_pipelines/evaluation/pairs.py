"""Clips against the reference of the same id, frame by frame: PSNR and SSIM."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

from videogen.errors import MediaError
from videogen.evaluation.paired import compare_clips
from videogen.media import iter_video
from videogen.storage import MissingKeyError, Storage, local_copy
from videogen_pipelines.evaluation.sources import Source, SourceClip
from videogen_pipelines.evaluation.summary import statistics
from videogen_pipelines.redact import redact

PORTION = 8
_BATCH = 256  # bounds what is known at once


class Pair(NamedTuple):
    """What a pair scored, or why it could not."""

    id: str
    values: dict[str, float]
    error: str | None = None


def describe_pairs(source: Source, reference: Source) -> dict[str, Any] | None:
    """Compare every clip that has a partner of the same id, several side by side.

    Returns:
        JSON types: `count`, `unpaired`, `metrics` (name -> statistics), `clips` (id -> numbers) and
        `failed` (id -> reason); None if no id is in both.

    Raises:
        StorageError: a storage failed.
    """
    ids = sorted(set(source.ids) & set(reference.ids))
    if not ids:
        return None
    pairs = list(_compared(source, reference, ids))
    scored = [pair for pair in pairs if pair.error is None]
    names = scored[0].values if scored else {}
    return {
        "count": len(scored),
        "unpaired": len(source.ids) - len(ids),
        "metrics": {name: statistics(pair.values[name] for pair in scored) for name in names},
        "clips": {pair.id: pair.values for pair in scored},
        "failed": {pair.id: pair.error for pair in pairs if pair.error is not None},
    }


def _compared(source: Source, reference: Source, ids: Iterable[str]) -> Iterator[Pair]:
    def compare(both: tuple[SourceClip, SourceClip]) -> Pair:
        return _compare(source.storage, reference.storage, *both)

    rest = iter(ids)
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        while batch := list(islice(rest, _BATCH)):
            partners = {clip.id: clip for clip in reference.clips(batch)}
            found = [(c, partners[c.id]) for c in source.clips(batch) if c.id in partners]
            yield from workers.map(compare, found)


def _compare(ours: Storage, theirs: Storage, clip: SourceClip, partner: SourceClip) -> Pair:
    try:
        with local_copy(ours, clip.key) as one, local_copy(theirs, partner.key) as other:
            scores = compare_clips(iter_video(one, PORTION), iter_video(other, PORTION))
    except (MediaError, MissingKeyError) as error:
        return Pair(clip.id, {}, redact(str(error)))
    return Pair(clip.id, {name: float(f"{s.value:.6g}") for name, s in scores.items()})
