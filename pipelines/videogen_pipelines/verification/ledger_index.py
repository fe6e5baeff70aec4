"""What the ledger says of every clip, small enough to be held for a million of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from videogen.storage import Storage
from videogen_pipelines.keys import clip_key
from videogen_pipelines.ledger import read_segments
from videogen_pipelines.sidecar import Sidecar

_COLUMNS = ["id", "clip_id", "state", "key", "sha256", "error_class"]


@dataclass
class LedgerIndex:
    """The last word of the ledger.

    Attributes:
        done: id -> a fingerprint of the clip that it names.
        failed: id -> the class of its failure.
        damaged: key -> what is wrong with a segment that cannot be read.
    """

    done: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, storage: Storage) -> LedgerIndex:
        """Read all segments, one at a time.

        Raises:
            StorageError: the storage failed.
        """
        index = cls()

        def note(key: str, error: Exception) -> None:
            index.damaged[key] = str(error) or type(error).__name__

        for table in read_segments(storage, _COLUMNS, on_damaged=note):
            columns: list[list[Any]] = [table[name].to_pylist() for name in _COLUMNS]
            for name, clip, state, key, sha256, error_class in zip(*columns, strict=True):
                if state == "done":
                    index.done[name] = _fingerprint(clip, key or clip_key(name), sha256)
                else:
                    index.failed[name] = error_class or ""
        return index

    def agrees(self, sidecar: Sidecar) -> bool | None:
        """Whether the ledger names this very clip; None if it does not name one. Forgets it."""
        found = self.done.pop(sidecar.id, None)
        if found is None:
            return None
        return found == _fingerprint(sidecar.clip_id, sidecar.key, sidecar.sha256)


def _fingerprint(clip: str | None, key: str, sha256: str | None) -> int:
    return hash((clip, key, sha256))
