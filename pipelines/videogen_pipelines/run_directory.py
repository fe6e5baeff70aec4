"""`RunDirectory`, the coordinator's view of an output: what is done, what failed, what it says.

It keeps nothing that storage does not have: kill it and the same command continues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import pyarrow.compute as pc

from videogen.errors import OutputConflictError, StorageError
from videogen.storage import Storage
from videogen_pipelines import committed as commits
from videogen_pipelines.commit import Inspect, adopt_clip, inspect_clip
from videogen_pipelines.ledger import LedgerWriter, next_epoch, read_ledger
from videogen_pipelines.results import (
    SUCCESS_KEY,
    Outcomes,
    ResultRow,
    RunCounts,
    write_results,
    write_success,
)
from videogen_pipelines.run_record import RunRecord, write_run_record
from videogen_pipelines.sidecar import Provenance, Sidecar, now, read_sidecar
from videogen_pipelines.summary import RunSummary, summarise

_NAMED = 3  # how many conflicts a message spells out


class RunDirectory:
    """One output under the lock of one coordinator.

    Use it as a context; call `initialise` before anything else. Ranks need none of it: they call
    `commit_clip` with the storage.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._context = ExitStack()
        self._ledger: LedgerWriter | None = None
        self._record: RunRecord | None = None
        self._withdrawn: bytes | None = None

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            StorageError: another process holds it.
        """
        self._context.enter_context(self.storage.lock())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write what the ledger still buffers and free the lock, whatever happened."""
        with self._context:
            if self._ledger is not None:
                self._ledger.flush()

    def initialise(self, record: RunRecord) -> RunRecord:
        """Start an invocation: record it, begin a ledger epoch, withdraw an older `_SUCCESS`.

        Returns:
            The record with the invocation's number.

        Raises:
            StorageError: the storage failed.
        """
        self.storage.clean_temporary()
        if self.storage.exists(SUCCESS_KEY):
            self._withdrawn = self.storage.read(SUCCESS_KEY)
        self.storage.delete(SUCCESS_KEY)
        self._record = write_run_record(self.storage, record)
        self._ledger = LedgerWriter(self.storage, next_epoch(self.storage))
        return self._record

    @property
    def ledger(self) -> LedgerWriter:
        """The writer of this invocation's epoch.

        Raises:
            StorageError: `initialise` was not called.
        """
        if self._ledger is None:
            raise StorageError(
                f"{self.storage.uri}: got a run directory that is not initialised, expected "
                "initialise() first. Fix: call it inside the 'with' block."
            )
        return self._ledger

    def committed(self) -> dict[str, str]:
        """id -> clip_id of every committed clip; the ledger learns of those it lacked.

        Raises:
            StorageError: the storage failed, or a sidecar that the ledger lacks is damaged.
        """

        def learn(sidecar: Sidecar) -> None:
            self.ledger.append(sidecar.outcome())

        found = commits.read_committed(self.storage, learn)
        self.ledger.flush()
        return found

    def check_conflicts(
        self, planned: Iterable[tuple[str, str]], committed: Mapping[str, str]
    ) -> None:
        """Check (id, clip_id) pairs against what is committed, before any work starts.

        On a conflict a `_SUCCESS` that `initialise` withdrew comes back: nothing has changed.

        Raises:
            OutputConflictError: an id holds another clip; the message names the first few.
        """
        conflicts = [name for name, clip in planned if committed.get(name, clip) != clip]
        if conflicts:
            if self._withdrawn is not None:
                self.storage.put(SUCCESS_KEY, self._withdrawn)
            named = "; ".join(self._describe(name) for name in conflicts[:_NAMED])
            raise OutputConflictError(
                f"{self.storage.uri}: got {len(conflicts)} ids that hold other clips already "
                f"({named}), expected new ids or the same requests and model. Fix: choose another "
                "output, rename the ids, or restore the parameters and the model."
            )

    def adopt_orphans(
        self,
        committed: dict[str, str],
        provenance_of: Callable[[str], Provenance | None],
        inspect: Inspect = inspect_clip,
    ) -> list[str]:
        """Commit clips that were stored but whose writer died before the sidecar.

        Args:
            committed: what `committed()` returned; the adopted clips are added.
            provenance_of: how the clip of an id would be made; None if the manifest lacks the id.

        Returns:
            The ids adopted.

        Raises:
            OutputConflictError: a stored clip is another one than the manifest asks for.
            StorageError: the storage failed.
        """
        adopted: list[str] = []
        for name in list(commits.orphans(self.storage, committed)):
            provenance = provenance_of(name)
            result = provenance and adopt_clip(self.storage, provenance, inspect)
            if result:
                committed[name] = result.sidecar.clip_id
                self.record_done(result.outcome())
                adopted.append(name)
        return adopted

    def record_done(self, outcome: Mapping[str, Any]) -> None:
        """Index a committed clip; `outcome` is what `CommitResult.outcome()` returned.

        Raises:
            StorageError: a segment could not be written; nothing is lost, the sidecars stand.
        """
        self.ledger.append(outcome)

    def record_failure(
        self,
        request_id: str,
        error_class: str,
        message: str,
        attempts: int,
        clip_id: str | None = None,
    ) -> None:
        """Note that a row failed for good in this invocation; the next one tries it again.

        Raises:
            StorageError: a segment could not be written; its records stay buffered.
        """
        self.ledger.append(
            {
                "id": request_id,
                "clip_id": clip_id,
                "state": "failed",
                "attempts": attempts,
                "created_at": now().timestamp(),
                "error_class": error_class,
                "error_message": message,
            }
        )

    def tick(self) -> None:
        """Write the ledger's buffer if it is old enough; call it about every second."""
        self.ledger.tick()

    def flush(self) -> None:
        """Write the ledger's buffer now."""
        self.ledger.flush()

    def finish(self, rows: Iterable[ResultRow]) -> RunCounts:
        """Write `results/`, `errors.jsonl` and, if every row is a clip or a failure, `_SUCCESS`.

        Args:
            rows: the manifest in its order; read once.

        Raises:
            StorageError: the storage failed.
        """
        self.flush()
        epoch = self.ledger.epoch
        counts = write_results(self.storage, rows, Outcomes(self.storage, epoch))
        if counts.pending == 0 and self._record is not None:
            write_success(
                self.storage,
                counts,
                manifest_digest=self._record.manifest_digest,
                model_digest=self._record.model.digest,
                invocation=self._record.invocation,
                created_at=now().isoformat(),
            )
        return counts

    def summary(self, elapsed_s: float | None = None) -> RunSummary:
        """What this invocation did so far; `elapsed_s` None counts from its start until now."""
        self.flush()
        outcomes = read_ledger(self.storage, first_epoch=self.ledger.epoch)
        if self._record is not None:
            started = self._record.created_at
            outcomes = outcomes.filter(pc.field("created_at") >= started.timestamp())
            elapsed_s = elapsed_s or (now() - started).total_seconds()
        return summarise(outcomes, elapsed_s)

    def _describe(self, name: str) -> str:
        sidecar = read_sidecar(self.storage, name)
        prompt = sidecar.request.prompt
        shown = prompt if len(prompt) <= 40 else prompt[:39] + "…"
        return f"'{name}': '{shown}' by model {sidecar.model.name} {sidecar.model.digest[:12]}"
