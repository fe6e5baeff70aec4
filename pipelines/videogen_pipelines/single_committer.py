"""Commits where the store cannot refuse a second writer: one process writes all sidecars.

Ranks store each attempt under a name of its own; the coordinator, alone under its lock, writes the
sidecar of the first one it hears of, and removes what the others left.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from videogen.errors import OutputConflictError
from videogen.storage import Storage
from videogen_pipelines.inventory import stored_items
from videogen_pipelines.keys import is_attempt, meta_key
from videogen_pipelines.sidecar import Sidecar, find_sidecar

logger = logging.getLogger(__name__)


def commit_attempt(storage: Storage, record: Mapping[str, Any]) -> dict[str, Any]:
    """Write the sidecar of an attempt that a rank stored, unless its clip is committed already.

    Args:
        record: what `CommitResult.outcome()` of a stored attempt returned; `sidecar` is in it.

    Returns:
        The ledger's record of the clip that is committed.

    Raises:
        OutputConflictError: the id holds another clip.
        StorageError: the storage failed.
    """
    sidecar = Sidecar.model_validate_json(json.dumps(record["sidecar"]))
    committed = find_sidecar(storage, sidecar.id)
    if committed is None and storage.create(meta_key(sidecar.id), sidecar.to_json()):
        return sidecar.outcome()
    committed = committed or find_sidecar(storage, sidecar.id) or sidecar
    if committed.clip_id != sidecar.clip_id:
        raise OutputConflictError(
            f"id '{sidecar.id}': got a clip committed meanwhile as another request, expected the "
            "same one. Fix: choose another output or another id."
        )
    return committed.outcome()


def remove_losers(storage: Storage, fence: Callable[[], None] = lambda: None) -> int:
    """Delete the attempts at committed clips that did not win; returns how many.

    A clip under its usual name is never touched.

    Raises:
        StorageError: the storage failed, or a sidecar is damaged.
    """
    removed = 0
    for item in stored_items(storage):
        if len(item.clip_keys) < 2 or not item.has_sidecar:
            continue
        committed = find_sidecar(storage, item.id)
        losers = [key for key in item.clip_keys if committed and key != committed.key]
        for key in filter(is_attempt, losers):
            fence()
            storage.delete(key)
            removed += 1
    if removed:
        logger.warning("%s: removed %d attempts that did not win", storage.uri, removed)
    return removed
