"""Which rows of a run are tried again, and what stays on record about those that are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from videogen.storage import Storage
from videogen_cluster.failures import ErrorClass
from videogen_pipelines.committed import committed_ids
from videogen_pipelines.ledger import failure_record, read_segments
from videogen_pipelines.run_directory import RunDirectory


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """The last failure of a row that has no clip."""

    error_class: str
    message: str
    attempts: int
    clip_id: str | None

    def record(self, request_id: str) -> dict[str, Any]:
        """What the ledger says of it."""
        return failure_record(
            request_id, self.error_class, self.message, self.attempts, self.clip_id
        )


@dataclass(frozen=True)
class Selection:
    """The dead letters of a run; those of `only` (None: all) are tried again, the others stand."""

    dead: Mapping[str, DeadLetter]
    only: str | None = None

    @property
    def chosen(self) -> list[str]:
        """The ids that are tried again."""
        return [name for name in self.dead if self.wants(name)]

    @property
    def failures(self) -> dict[str, str]:
        """id -> class of errors of all dead letters."""
        return {name: letter.error_class for name, letter in self.dead.items()}

    def wants(self, request_id: str) -> bool:
        """Whether this row is tried again. One that is bad as it stands never is."""
        letter = self.dead.get(request_id)
        if letter is None or letter.error_class == ErrorClass.INVALID_REQUEST:
            return False
        return self.only in (None, letter.error_class)

    def leave(self, run: RunDirectory, request_id: str) -> None:
        """Note in this invocation too why a row that is not tried again failed."""
        letter = self.dead.get(request_id)
        if letter is not None:
            run.record_failure(
                request_id, letter.error_class, letter.message, letter.attempts, letter.clip_id
            )

    def by_class(self) -> dict[str, int]:
        """How many failed of each class, the most frequent first."""
        return dict(Counter(self.failures.values()).most_common())


def read_dead_letters(storage: Storage) -> dict[str, DeadLetter]:
    """id -> the last failure of every row that failed and has no clip since.

    Raises:
        StorageError: the storage failed.
    """
    names = ["id", "clip_id", "state", "attempts", "error_class", "error_message"]
    dead: dict[str, DeadLetter] = {}
    for table in read_segments(storage, names):
        for row in table.to_pylist():
            if row["state"] == "failed":
                dead[row["id"]] = DeadLetter(
                    row["error_class"] or "unknown",
                    row["error_message"] or "",
                    row["attempts"] or 0,
                    row["clip_id"],
                )
    for name in committed_ids(storage) if dead else ():
        dead.pop(name, None)
    return dead
