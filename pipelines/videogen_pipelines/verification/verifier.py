"""Proves that every row has exactly one clip or a named failure, or names what is in the way."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from videogen.errors import StorageError
from videogen.storage import LocalStorage, Storage
from videogen.storage.local import TEMPORARY_PREFIX
from videogen_pipelines.commit import Inspect, inspect_clip, stored_sha256
from videogen_pipelines.inventory import ForeignKey, StoredItem, inventory
from videogen_pipelines.keys import meta_key, partial_key
from videogen_pipelines.partials import stored_partials
from videogen_pipelines.scratch import SCRATCH
from videogen_pipelines.sidecar import Sidecar
from videogen_pipelines.success import SUCCESS_KEY, Success, read_success
from videogen_pipelines.verification.clip_check import Checked, Level, check_item
from videogen_pipelines.verification.ledger_index import LedgerIndex
from videogen_pipelines.verification.rows import Rows, read_rows
from videogen_pipelines.verification.violations import Kind, Report, Violation

READERS = 16
_AHEAD = 8 * READERS  # bounds what is read and not yet looked at


def verify_run(
    storage: Storage,
    level: Level = Level.FRAMES,
    inspect: Inspect = inspect_clip,
    on_checked: Callable[[int], None] | None = None,
) -> Report:
    """Verify a run directory; changes nothing.

    Args:
        level: how closely clips are looked at.
        on_checked: told every now and then how many clips were checked.

    Raises:
        StorageError: it is no run directory, or cannot be read.
    """
    report = Report(storage.uri, str(level))
    return report.collect(Verifier(storage, report, level, inspect, on_checked).violations())


@dataclass
class Verifier:
    """One pass over a run directory; `violations` yields what is wrong and fills in `report`."""

    storage: Storage
    report: Report
    level: Level = Level.FRAMES
    inspect: Inspect = inspect_clip
    on_checked: Callable[[int], None] | None = None
    rows: Rows = field(default_factory=Rows, init=False)
    _ledger: LedgerIndex = field(default_factory=LedgerIndex, init=False)

    def violations(self) -> Iterator[Violation]:
        """Everything that is wrong, as it is found.

        Raises:
            StorageError: it is no run directory, or cannot be read.
        """
        success, problem = self._read_success()
        yield from problem
        damaged = list(self._check_files(success))
        yield from damaged
        self.rows = read_rows(self.storage, trust_results=success is not None and not damaged)
        self._ledger = LedgerIndex.read(self.storage)
        self._describe_rows()
        yield from self._check_partials()  # before the rows that have a clip are forgotten
        yield from self._check_clips()
        yield from self._check_open_rows()
        yield from self._check_ledger()
        if success is not None:
            yield from self._check_success(success)
        yield from self._check_temporary()

    def _read_success(self) -> tuple[Success | None, list[Violation]]:
        try:
            success = read_success(self.storage)
        except StorageError as error:
            return None, [Violation(Kind.RESULTS, str(error), key=SUCCESS_KEY)]
        if success is not None:
            return success, []
        message = (
            "got a run that has not ended, expected _SUCCESS. Fix: wait for it, or run the same "
            "command again"
        )
        return None, [Violation(Kind.UNFINISHED, message, key=SUCCESS_KEY)]

    def _describe_rows(self) -> None:
        self.report.rows_from = self.rows.source
        self.report.rows = len(self.rows.clip_ids)
        if self.rows.note:
            self.report.notes.append(self.rows.note)

    def _check_files(self, success: Success | None) -> Iterator[Violation]:
        """The files that `_SUCCESS` vouches for."""
        for key, expected in (success.files if success else {}).items():
            digest = stored_sha256(self.storage, key) or "no file"
            if digest != expected:
                message = f"got {digest[:12]}, expected sha256 {expected[:12]}… as in {SUCCESS_KEY}"
                yield Violation(Kind.RESULTS, message, key=key)

    def _check_clips(self) -> Iterator[Violation]:
        with ThreadPoolExecutor(READERS) as readers:
            for number, found in enumerate(self._checked(readers), start=1):
                if isinstance(found, ForeignKey):
                    message = "got a file that no commit made, expected clips and sidecars alone"
                    yield Violation(Kind.FOREIGN, message, key=found.key)
                else:
                    yield from found.violations
                    yield from self._judge(found)
                if self.on_checked and number % 100 == 0:
                    self.on_checked(number)

    def _checked(self, readers: ThreadPoolExecutor) -> Iterator[Checked | ForeignKey]:
        """Every id, looked at; several at once, few of them in memory."""
        found = inventory(self.storage)
        waiting: deque[Future[Checked | ForeignKey]] = deque()
        while True:
            for item in islice(found, _AHEAD - len(waiting)):
                waiting.append(readers.submit(self._look_at, item))
            if not waiting:
                return
            yield waiting.popleft().result()

    def _look_at(self, item: StoredItem | ForeignKey) -> Checked | ForeignKey:
        if isinstance(item, ForeignKey):
            return item
        return check_item(self.storage, item, self.level, self.inspect)

    def _judge(self, found: Checked) -> Iterator[Violation]:
        """Compare one id with the rows and the ledger."""
        name = found.item.id
        is_row = name in self.rows.clip_ids
        wanted = self.rows.clip_ids.pop(name, None)
        if found.sidecar is not None:
            yield from self._judge_committed(found.sidecar, wanted)
            return
        if found.item.has_sidecar:
            self._ledger.done.pop(name, None)  # it cannot be read, which was said
            return
        is_asked_for = is_row or self.rows.source == "storage"
        kind = Kind.NOT_COMMITTED if is_asked_for else Kind.ORPHAN
        for key in found.item.clip_keys:
            yield Violation(kind, "got a clip without sidecar, expected both", name, key)

    def _check_partials(self) -> Iterator[Violation]:
        """Chunks of clips that are not complete: fine while there is a row that asks for them."""
        num_open = 0
        for name, places in stored_partials(self.storage):
            is_known = self.rows.source == "storage"
            wanted = [p for p in places if is_known or self.rows.clip_ids.get(name) == p.clip_id]
            is_done = self.storage.exists(meta_key(name))
            num_open += bool(wanted) and not is_done
            for place in places if is_done else [p for p in places if p not in wanted]:
                why = "which is complete" if is_done else "which no row asks for"
                message = f"got a chunk of a clip {why}, expected it gone"
                yield Violation(Kind.TEMPORARY, message, name, partial_key(place))
        if num_open:
            self.report.notes.append(f"clips that are begun and go on in the next run: {num_open}")

    def _judge_committed(self, sidecar: Sidecar, wanted: str | None) -> Iterator[Violation]:
        self.report.clips += 1
        self.report.bytes += sidecar.bytes
        state = self.rows.states.get(sidecar.id)
        if wanted is None:
            self.report.outside += self.rows.source != "storage"
        elif sidecar.clip_id != wanted:
            message = f"got clip {sidecar.clip_id}, expected {wanted} as the row asks for"
            yield Violation(Kind.WRONG_CLIP, message, sidecar.id, sidecar.key)
        elif state is not None:
            message = f"got a row that is {state}, expected done: its clip is committed"
            yield Violation(Kind.RESULTS, message, sidecar.id)
        agrees = self._ledger.agrees(sidecar)
        self.report.unlisted += agrees is None
        if agrees is False:
            message = "got another clip in the ledger, expected the one of its sidecar"
            yield Violation(Kind.LEDGER, message, sidecar.id)

    def _check_open_rows(self) -> Iterator[Violation]:
        """The rows that have nothing stored: did they fail, and does the failure have a name?"""
        for name in self.rows.clip_ids:
            if self.rows.source == "results":
                state = self.rows.states.get(name, "done")
            else:
                state = "failed" if self._ledger.failed.get(name) else "pending"
            if state == "failed":
                self.report.failed += 1
            else:
                message = f"got no clip (the row is {state}), expected one or a named failure"
                yield Violation(Kind.MISSING, message, name)

    def _check_ledger(self) -> Iterator[Violation]:
        for key, problem in self._ledger.damaged.items():
            yield Violation(Kind.LEDGER, f"got {problem}, expected gzipped JSON lines", key=key)
        for name in self._ledger.done:
            message = "got a clip in the ledger that has no sidecar, expected one"
            yield Violation(Kind.LEDGER, message, name)

    def _check_success(self, success: Success) -> Iterator[Violation]:
        states = Counter(self.rows.states.values())
        failed = states.total() - states["pending"]
        found = (self.report.rows, self.report.rows - states.total(), failed)
        said = (success.rows, success.done, success.failed)
        if self.rows.source == "results" and found != said:
            names = "%d rows, %d done, %d failed"
            message = f"got {names % said}, expected {names % found} as in the results"
            yield Violation(Kind.RESULTS, message, key=SUCCESS_KEY)

    def _check_temporary(self) -> Iterator[Violation]:
        if isinstance(self.storage, LocalStorage):
            for folder, names, files in os.walk(self.storage.root):
                for name in [*names, *files]:
                    if name.startswith(TEMPORARY_PREFIX) or name == SCRATCH:
                        key = os.path.relpath(os.path.join(folder, name), self.storage.root)  # noqa: PTH118
                        message = "got what an interrupted write left, expected it gone"
                        yield Violation(Kind.TEMPORARY, message, key=key)
