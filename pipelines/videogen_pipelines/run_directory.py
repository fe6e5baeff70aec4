"""`RunDirectory`, the coordinator's view of an output: what is done, what failed, what it says.

It keeps nothing that storage does not have: kill it and the same command continues. Every write
asks the lock first: a coordinator that lost it stops and leaves the run to the one that took over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import pyarrow.compute as pc

from videogen.errors import OutputConflictError, StorageError
from videogen.storage import Lock, LockLostError, Storage
from videogen_pipelines import committed as commits
from videogen_pipelines.commit import Inspect, adopt_clip, inspect_clip, stored_sha256
from videogen_pipelines.ledger import LedgerWriter, failure_record, next_epoch, read_ledger
from videogen_pipelines.results import Outcomes, ResultRow, ResultsWriter, RunCounts
from videogen_pipelines.run_record import RunRecord, is_continued, write_run_record
from videogen_pipelines.sidecar import Provenance, Sidecar, now, read_sidecar
from videogen_pipelines.single_committer import commit_attempt, remove_losers
from videogen_pipelines.success import SUCCESS_KEY, Success, read_success, write_success
from videogen_pipelines.summary import RunSummary, summarise

logger = logging.getLogger(__name__)

_NAMED = 3  # how many conflicts a message spells out


class RunDirectory:
    """One output under the lock of one coordinator.

    Use it as a context; call `initialise` before anything else. Ranks need none of it: they call
    `commit_clip` with the storage.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._context = ExitStack()
        self._lock: Lock | None = None
        self._ledger: LedgerWriter | None = None
        self._record: RunRecord | None = None
        self._is_withdrawn = False

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            StorageError: another process holds it.
        """
        self._lock = self._context.enter_context(self.storage.lock())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write what the ledger still buffers and free the lock, whatever happened."""
        with self._context:
            if self._ledger is not None and not isinstance(error, LockLostError):
                self._ledger.flush()

    def initialise(self, record: RunRecord) -> RunRecord:
        """Start an invocation: record it and begin a ledger epoch.

        Returns:
            The record with the invocation's number and how clips are committed.

        Raises:
            StorageError: the storage failed.
        """
        self.check_lock()
        self.storage.clean_temporary()
        if not self.storage.conditional_writes:
            record = record.model_copy(update={"commit": "single_committer"})
            logger.warning(
                "%s: this store does not refuse a second writer, so this process alone commits "
                "clips; two runs on one output at the same time may harm each other here",
                self.storage.uri,
            )
        self._record = write_run_record(self.storage, record)
        epoch = max(self._record.invocation, next_epoch(self.storage))
        self._ledger = LedgerWriter(self.storage, epoch, fence=self.check_lock)
        return self._record

    def check_lock(self) -> None:
        """Return while this coordinator is the only one.

        Raises:
            LockLostError: it is not any more; nothing may be written from now on.
        """
        if self._lock is None:
            raise StorageError(
                f"{self.storage.uri}: got a run directory that is not locked, expected a 'with' "
                "block. Fix: use it as a context."
            )
        try:
            self._lock.check()
        except LockLostError as error:
            raise LockLostError(
                f"{self.storage.uri}: got a lock that is lost, expected to hold it to the end: "
                "another coordinator took over; it continues the run, and nothing is harmed. "
                f"Fix: watch that one, or run the same command once it has ended. ({error})"
            ) from error

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

        Raises:
            OutputConflictError: an id holds another clip; the message names the first few.
        """
        self.refuse_conflicts(n for n, clip in planned if committed.get(n, clip) != clip)

    def refuse_conflicts(self, names: Iterable[str]) -> None:
        """Refuse to go on if there are any `names` of clips that are not those asked for.

        Raises:
            OutputConflictError: there are; the message names the first few.
        """
        conflicts = list(names)
        if conflicts:
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
        found: Mapping[str, Sequence[str]] | None = None,
    ) -> list[str]:
        """Commit clips that were stored but whose writer died before the sidecar.

        Args:
            committed: what `committed()` returned; the adopted clips are added.
            provenance_of: how the clip of an id would be made; None if the manifest lacks the id.
            found: id -> keys of the clips to adopt, if they were looked for already.

        Returns:
            The ids adopted.

        Raises:
            OutputConflictError: a stored clip is another one than the manifest asks for.
            StorageError: the storage failed.
        """
        adopted: list[str] = []
        if found is None:
            found = commits.orphaned_clips(self.storage, committed)
        for name, keys in found.items():
            provenance = provenance_of(name)
            if provenance is None:
                continue
            self.withdraw_success()
            result = adopt_clip(self.storage, provenance, inspect, keys)
            if result:
                committed[name] = result.sidecar.clip_id
                self.record_done(result.outcome())
                adopted.append(name)
        return adopted

    def record_done(self, outcome: Mapping[str, Any]) -> None:
        """Index a clip, and commit it first where that is left to us.

        Args:
            outcome: what `CommitResult.outcome()` returned.

        Raises:
            LockLostError: another coordinator took over.
            StorageError: a segment could not be written; nothing is lost, the sidecars stand.
        """
        if "sidecar" in outcome:
            self.check_lock()
            outcome = commit_attempt(self.storage, outcome)
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
        self.ledger.append(failure_record(request_id, error_class, message, attempts, clip_id))

    def tick(self) -> None:
        """Write the ledger's buffer if it is old enough; call it about every second.

        Raises:
            LockLostError: another coordinator took over.
        """
        self.check_lock()
        self.ledger.tick()

    def flush(self) -> None:
        """Write the ledger's buffer now."""
        self.ledger.flush()

    def withdraw_success(self) -> None:
        """Say that the run is not complete (any more); call it before anything is made.

        Raises:
            LockLostError: another coordinator took over.
        """
        if not self._is_withdrawn:  # a second time, it might be another coordinator's
            self.check_lock()
            self.storage.delete(SUCCESS_KEY)
            self._is_withdrawn = True

    def standing(self, num_rows: int, num_done: int) -> RunCounts | None:
        """The counts of an earlier invocation that ended the very same run, if it still stands.

        Args:
            num_rows, num_done: rows of the manifest, and how many of them are committed.
        """
        success = read_success(self.storage)
        if success is None or self._record is None:
            return None
        is_same = (success.rows, success.done) == (num_rows, num_done)
        if not is_same or not is_continued(self.storage, self._record, success.invocation):
            return None
        stand = (stored_sha256(self.storage, key) == d for key, d in success.files.items())
        return success.counts if all(stand) else None

    def finish(self, rows: Iterable[ResultRow]) -> RunCounts:
        """Write `results/`, `errors.jsonl` and, if every row is a clip or a failure, `_SUCCESS`.

        No rank of this run may be alive.

        Args:
            rows: the manifest in its order; read once.

        Raises:
            LockLostError: another coordinator took over.
            OutputConflictError: it did, and has declared another end of the run.
            StorageError: the storage failed.
        """
        self.flush()
        self.withdraw_success()
        outcomes = Outcomes(self.storage, self.ledger.epoch)
        writer = ResultsWriter(self.storage, outcomes, self.check_lock)
        counts = writer.write(rows)
        self.storage.clean_temporary(older_than_s=0.0)
        if self._record is not None and self._record.commit == "single_committer":
            remove_losers(self.storage, self.check_lock)
        if counts.pending == 0 and self._record is not None:
            self.check_lock()
            write_success(self.storage, Success.of(self._record, counts, writer.digests))
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
