"""Shards that are recorded and gone: somebody deleted them, or a copy was not complete."""

from __future__ import annotations

from videogen.errors import StorageError
from videogen.storage import Storage
from videogen_pipelines.data.shard_plan import INDEX_PREFIX, SHARDS_PREFIX


def vanished_shards(storage: Storage) -> list[str]:
    """The names of shards that have a record and no file.

    Raises:
        StorageError: the storage failed.
    """
    recorded = _names(storage, INDEX_PREFIX, ".json")
    return sorted(recorded - _names(storage, SHARDS_PREFIX, ".tar")) if recorded else []


def forget_vanished(storage: Storage) -> list[str]:
    """Remove the records of shards that are gone, so that they are written again; their names.

    Raises:
        StorageError: the storage failed.
    """
    names = vanished_shards(storage)
    for name in names:
        storage.delete(f"{INDEX_PREFIX}{name}.json")
    return names


def check_whole(storage: Storage) -> None:
    """Refuse shards of which some are gone.

    Raises:
        StorageError: one is recorded and not there; names it.
    """
    names = vanished_shards(storage)
    if names:
        raise StorageError(
            f"{storage.uri}: got no {SHARDS_PREFIX}{names[0]}.tar"
            f"{f' and {len(names) - 1} more' if names[1:] else ''}, expected every shard that "
            f"{INDEX_PREFIX} records. Fix: run again what wrote them, or copy them again."
        )


def _names(storage: Storage, prefix: str, ending: str) -> set[str]:
    keys = (key for key in storage.list(prefix) if key.endswith(ending))
    return {key.removeprefix(prefix).removesuffix(ending) for key in keys}
