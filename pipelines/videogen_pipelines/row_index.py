"""What every row of a manifest asks for, in 20 bytes a row, to be compared with what is there."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Mapping
from itertools import compress

import numpy as np

from videogen.clip_ids import clip_id
from videogen.requests import ClipRequest
from videogen_pipelines.manifest.rows import ResolvedRow
from videogen_pipelines.plan import ClipShape, Plan

_MAX_TRAITS = 4096


class RowIndex:
    """Hashes of ids and of clip ids, in the order of the rows; of a bad row only that there is one.

    Ids are hashed by Python, so an index is worth nothing outside its process. That two of a
    million ids share a hash of 64 bits has a chance of 1 : 10^7; a run would then be refused, and
    started again it would hash them otherwise.
    """

    def __init__(self, model_digest: str, sampler_version: str) -> None:
        self._model_digest = model_digest
        self._sampler_version = sampler_version
        self._ids = array("q")
        self._clips = array("Q")
        self._shapes = array("I")
        self._shape_numbers: dict[ClipShape, int] = {}
        self._known_traits: dict[tuple[object, ...], int] = {}
        self._invalid = 0

    def add_row(self, row: ResolvedRow) -> None:
        """Add the clips of a row."""
        for request in row.requests:
            self.add(request, clip_id(request, self._model_digest, self._sampler_version))
        if not row.requests:
            self.add_invalid(len(row.ids))

    def add(self, request: ClipRequest, name: str) -> None:
        """Add a clip called `name`."""
        self._ids.append(hash(request.id))
        self._clips.append(_prefix(name))
        self._shapes.append(self._shape_number(request))

    def add_invalid(self, count: int = 1) -> None:
        """Add clips that cannot be made."""
        self._invalid += count

    @property
    def shapes(self) -> list[ClipShape]:
        """The shapes of clips that there are."""
        return list(self._shape_numbers)

    def compare(
        self,
        committed: Mapping[str, str],
        chosen: Collection[str] | None = None,
        failures: Mapping[str, str] | None = None,
    ) -> tuple[Plan, list[str]]:
        """What is to be done, and the ids that hold another clip than the one asked for.

        Args:
            committed: id -> clip id of what is there.
            chosen: the ids that may be made now; None is all of them.
            failures: id -> class of errors of what failed before.
        """
        is_done, conflicts = self._look_up(committed)
        is_held = np.zeros_like(is_done)
        if chosen is not None:
            ids = np.frombuffer(self._ids, np.int64)
            wanted = np.fromiter(map(hash, chosen), np.int64, len(chosen))
            is_held = ~is_done & ~np.isin(ids, wanted)
        plan = Plan(
            done=int(is_done.sum()),
            invalid=self._invalid,
            held=int(is_held.sum()),
            held_by_class=self._count_failures(is_held, failures or {}),
            shapes=self._count_shapes(~is_done & ~is_held),
        )
        return plan, conflicts

    def _shape_number(self, request: ClipRequest) -> int:
        traits = (
            request.num_frames,
            request.height,
            request.width,
            request.num_inference_steps,
            request.guidance_scale,
            request.sampler,
            request.extension,
            request.chunk_frames,
            request.context_frames,
            request.async_steps,
            request.image is not None or request.video is not None,
            request.loop,
        )
        number = self._known_traits.get(traits)
        if number is None:
            shape, count = ClipShape.of(request), len(self._shape_numbers)
            number = self._shape_numbers.setdefault(shape, count)
            if len(self._known_traits) < _MAX_TRAITS:
                self._known_traits[traits] = number
        return number

    def _look_up(self, committed: Mapping[str, str]) -> tuple[np.ndarray, list[str]]:
        """For every clip whether it is there, and the ids under which another one is."""
        names = list(committed)
        if not names:
            return np.zeros(len(self._ids), bool), []
        stored = np.fromiter(map(hash, names), np.int64, len(names))
        clips = np.fromiter(map(_prefix, committed.values()), np.uint64, len(names))
        order = np.argsort(stored)
        ids = np.frombuffer(self._ids, np.int64)
        place = np.searchsorted(stored, ids, sorter=order).clip(max=len(names) - 1)
        place = order[place]
        is_there = stored[place] == ids
        is_same = clips[place] == np.frombuffer(self._clips, np.uint64)
        return is_there & is_same, [names[index] for index in place[is_there & ~is_same]]

    def _count_failures(self, is_counted: np.ndarray, failures: Mapping[str, str]) -> Counter[str]:
        ids = np.frombuffer(self._ids, np.int64)[is_counted]
        names = np.fromiter(map(hash, failures), np.int64, len(failures))
        return Counter(compress(failures.values(), np.isin(names, ids)))

    def _count_shapes(self, is_counted: np.ndarray) -> Counter[ClipShape]:
        shapes = np.frombuffer(self._shapes, np.uint32)[is_counted]
        counts = np.bincount(shapes, minlength=len(self._shape_numbers))
        counted = {shape: int(counts[n]) for shape, n in self._shape_numbers.items()}
        return Counter({shape: count for shape, count in counted.items() if count})


def _prefix(name: str) -> int:
    """The first 64 bits of a clip id; anything else that stands for one is hashed."""
    try:
        return int(name[:16], 16)
    except ValueError:
        return hash(name) & (2**64 - 1)
