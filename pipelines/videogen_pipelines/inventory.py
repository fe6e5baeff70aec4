"""What is stored of every clip, by listing alone, in the memory of one shard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from videogen.storage import Storage
from videogen_pipelines.keys import CLIPS_PREFIX, META_PREFIX, id_of_key


@dataclass(slots=True)
class StoredItem:
    """The keys of one id: its sidecar, and every file that claims to be its clip."""

    id: str
    has_sidecar: bool = False
    clip_keys: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A key under `clips/` or `meta/` that no commit made."""

    key: str


def stored_items(storage: Storage) -> Iterator[StoredItem]:
    """Every id that has a clip or a sidecar, once."""
    for found in inventory(storage):
        if isinstance(found, StoredItem):
            yield found


def inventory(storage: Storage) -> Iterator[StoredItem | ForeignKey]:
    """Every id that has a clip or a sidecar, and every foreign key, once.

    Clips and sidecars are listed side by side, one of 256 shards at a time.
    """
    clips = _Shards(storage, CLIPS_PREFIX)
    sidecars = _Shards(storage, META_PREFIX)
    for number in range(256):
        shard = f"{number:02x}"
        items: dict[str, StoredItem] = {}
        for name, _ in sidecars.take(shard):
            items.setdefault(name, StoredItem(name)).has_sidecar = True
        for name, key in clips.take(shard):
            items.setdefault(name, StoredItem(name)).clip_keys.append(key)
        yield from items.values()
        yield from map(ForeignKey, clips.pop_foreign() + sidecars.pop_foreign())
    yield from map(ForeignKey, clips.drain() + sidecars.drain())


class _Shards:
    """One listing, handed out shard by shard; what is no clip or sidecar is kept apart."""

    def __init__(self, storage: Storage, prefix: str) -> None:
        self._foreign: list[str] = []
        self._groups = groupby(self._own(storage.list(prefix)), key=lambda pair: pair[0])
        self._next = next(self._groups, None)

    def take(self, shard: str) -> Iterator[tuple[str, str]]:
        """The (id, key) pairs of `shard`; ask for shards in their order."""
        if self._next is not None and self._next[0] == shard:
            for _, name, key in self._next[1]:
                yield name, key
            self._next = next(self._groups, None)

    def pop_foreign(self) -> list[str]:
        found, self._foreign = self._foreign, []
        return found

    def drain(self) -> list[str]:
        """What is left once the last shard was taken."""
        while self._next is not None:
            self._next = next(self._groups, None)
        return self.pop_foreign()

    def _own(self, keys: Iterable[str]) -> Iterator[tuple[str, str, str]]:
        for key in keys:
            name = id_of_key(key)
            if name is None:
                self._foreign.append(key)
            else:
                yield key.split("/")[1], name, key
