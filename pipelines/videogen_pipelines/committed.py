"""Which clips are committed: the listing of the sidecars decides, the ledger saves reading them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, takewhile

from videogen.storage import MissingKeyError, Storage
from videogen_pipelines.keys import CLIPS_PREFIX, META_PREFIX, id_of_key
from videogen_pipelines.ledger import read_done
from videogen_pipelines.sidecar import Sidecar, read_sidecar

logger = logging.getLogger(__name__)

_READERS = 16  # object stores answer slowly but in parallel
_SERIAL = 3000  # keys that are listed one page after the other
_BATCH = 1000  # bounds the futures alive at once


def committed_ids(storage: Storage) -> Iterator[str]:
    """The ids that have a sidecar, by listing alone."""
    return _ids(storage, META_PREFIX)


def orphaned_clips(storage: Storage, committed: Container[str]) -> dict[str, list[str]]:
    """id -> the keys of every clip that is stored for it, of ids that are not `committed`."""
    found: dict[str, list[str]] = {}
    for key in list_shards(storage, CLIPS_PREFIX):
        name = id_of_key(key)
        if name is not None and name not in committed:
            found.setdefault(name, []).append(key)
    return found


def read_committed(
    storage: Storage, on_unlisted: Callable[[Sidecar], None] | None = None
) -> dict[str, str]:
    """id -> clip_id of every clip that has a sidecar.

    Args:
        on_unlisted: told of each sidecar that the ledger lacks, to write it there.

    Raises:
        StorageError: the storage failed, or a sidecar that the ledger lacks is damaged.
    """
    ledger = read_done(storage)
    committed: dict[str, str] = {}
    unlisted: list[str] = []
    for name in committed_ids(storage):
        clip = ledger.pop(name, None)
        if clip is None:
            unlisted.append(name)
        else:
            committed[name] = clip
    if ledger:
        logger.warning(
            "%s: %d clips of the ledger have no sidecar any more and will be made again, such as "
            "'%s'",
            storage.uri,
            len(ledger),
            next(iter(ledger)),
        )
    for sidecar in read_sidecars(storage, unlisted):
        committed[sidecar.id] = sidecar.clip_id
        if on_unlisted is not None:
            on_unlisted(sidecar)
    return committed


def read_sidecars(storage: Storage, names: Iterable[str]) -> Iterator[Sidecar]:
    """The sidecars of `names` in that order, several read at once; skips those that are gone.

    Raises:
        StorageError: one is damaged, or of a newer version.
    """
    names = iter(names)
    with ThreadPoolExecutor(_READERS) as readers:
        while batch := list(islice(names, _BATCH)):
            for sidecar in readers.map(lambda name: _find(storage, name), batch):
                if sidecar is not None:
                    yield sidecar


def _find(storage: Storage, name: str) -> Sidecar | None:
    try:
        return read_sidecar(storage, name)
    except MissingKeyError:
        return None


def _ids(storage: Storage, prefix: str) -> Iterator[str]:
    for key in list_shards(storage, prefix):
        name = id_of_key(key)
        if name is not None:
            yield name


def list_shards(storage: Storage, prefix: str) -> Iterator[str]:
    """The keys of all shards below `prefix`, in order.

    An object store lists a thousand keys a request, one page after the other: of long listings the
    later shards are read side by side.
    """
    keys = iter(storage.list(prefix))
    first = list(islice(keys, _SERIAL))
    yield from first
    if len(first) < _SERIAL:
        return
    shard = first[-1].removeprefix(prefix)[:2]
    yield from takewhile(lambda key: key.startswith(f"{prefix}{shard}/"), keys)
    later = [f"{prefix}{number:02x}/" for number in range(256) if f"{number:02x}" > shard]
    with ThreadPoolExecutor(_READERS) as readers:
        for found in readers.map(lambda start: list(storage.list(start)), later):
            yield from found
