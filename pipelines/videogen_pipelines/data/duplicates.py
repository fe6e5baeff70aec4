"""Finds clips that are copies of others: the same bytes, or the same to look at.

Hashes that differ in at most `near` bits agree in at least one of `near + 1` parts (pigeonhole), so
those that share a part are all that have to be compared, and none is missed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from videogen_pipelines.data.fingerprint import BITS, MAX_COLOUR, NUM_BYTES, unpack

_COMPARED = 4096
"""At once; bounds memory where very many clips share a part, such as black ones."""


@dataclass(frozen=True, slots=True)
class Copy:
    """`of` is the key of the clip that is kept."""

    of: str
    reason: str


class Originals:
    """The clips that are kept so far, and whether another one is a copy of any."""

    def __init__(self, near: int) -> None:
        """Begin with none; `near` is the number of bits that copies may differ in, 0 for none."""
        self._near = near
        self._by_sha256: dict[str, str] = {}
        self._keys: list[str] = []
        self._packed = np.zeros((0, NUM_BYTES), np.uint8)
        edges = np.linspace(0, BITS, near + 2).astype(int)
        self._parts = list(pairwise(edges)) if near else []
        self._tables: list[dict[bytes, list[int]]] = [defaultdict(list) for _ in self._parts]

    def copy_of(self, sha256: str, fingerprint: str) -> Copy | None:
        """The clip that this one is a copy of; None if it is new."""
        if sha256 in self._by_sha256:
            return Copy(self._by_sha256[sha256], "the same file")
        if not (self._near and fingerprint):
            return None
        bits, colours = unpack(fingerprint)
        for some in self._candidates(bits):
            known = self._packed[some]
            differing = np.bitwise_count(known[:, : BITS // 8] ^ np.packbits(bits)).sum(1)
            apart = np.abs(known[:, BITS // 8 :].astype(int) - colours.astype(int)).max(1)
            found = np.flatnonzero((differing <= self._near) & (apart <= MAX_COLOUR))
            if len(found):
                nearest = int(found[np.argmin(differing[found])])
                said = f"{int(differing[nearest])} of {BITS} bits differ"
                return Copy(self._keys[int(some[nearest])], said)
        return None

    def add(self, key: str, sha256: str, fingerprint: str) -> None:
        """Take a clip that is kept."""
        self._by_sha256[sha256] = key
        if not (self._near and fingerprint):
            return
        index = len(self._keys)
        self._keys.append(key)
        if index == len(self._packed):
            room = np.zeros((max(1024, index), NUM_BYTES), np.uint8)
            self._packed = np.concatenate([self._packed, room])
        self._packed[index] = np.frombuffer(bytes.fromhex(fingerprint), np.uint8)
        bits, _ = unpack(fingerprint)
        for table, part in zip(self._tables, self._slices(bits), strict=True):
            table[part].append(index)

    def _candidates(self, bits: np.ndarray) -> Iterator[np.ndarray]:
        found: set[int] = set()
        for table, part in zip(self._tables, self._slices(bits), strict=True):
            found.update(table.get(part, ()))
        indices = np.fromiter(sorted(found), int, len(found))
        yield from (indices[i : i + _COMPARED] for i in range(0, len(indices), _COMPARED))

    def _slices(self, bits: np.ndarray) -> Iterable[bytes]:
        return [np.packbits(bits[start:stop]).tobytes() for start, stop in self._parts]
