"""Mends a run directory: adopts, indexes anew, sets aside. It deletes no clip and no sidecar."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from videogen.clip_ids import clip_id
from videogen.defaults import SAMPLER_VERSION
from videogen.errors import OutputConflictError
from videogen.storage import Lock, Storage
from videogen_pipelines.commit import Inspect, adopt_clip, inspect_clip
from videogen_pipelines.committed import committed_ids, orphaned_clips, read_sidecars
from videogen_pipelines.keys import meta_key, parse_partial
from videogen_pipelines.ledger import LedgerWriter, next_epoch, segment_keys
from videogen_pipelines.results import Outcomes, ResultsWriter, read_result_failures
from videogen_pipelines.run_record import read_run_record
from videogen_pipelines.scratch import clean_scratch
from videogen_pipelines.selection import read_dead_letters
from videogen_pipelines.sidecar import Provenance
from videogen_pipelines.success import SUCCESS_KEY, Success, write_success
from videogen_pipelines.verification.clip_check import Level
from videogen_pipelines.verification.quarantine import set_aside
from videogen_pipelines.verification.rows import Rows
from videogen_pipelines.verification.verifier import Verifier, verify_run
from videogen_pipelines.verification.violations import Kind, Report, Violation

_FILE_ALONE = (Kind.ORPHAN, Kind.DUPLICATE, Kind.FOREIGN, Kind.NO_CLIP, Kind.DAMAGED_SIDECAR)
_CLIP_AND_SIDECAR = (Kind.DAMAGED_CLIP, Kind.WRONG_CLIP)
_LEDGER_IS_WRONG = {Kind.LEDGER, Kind.NO_CLIP, Kind.DAMAGED_SIDECAR, *_CLIP_AND_SIDECAR}
_BESIDE_THE_RUN = {Kind.ORPHAN, Kind.DUPLICATE, Kind.FOREIGN, Kind.TEMPORARY}


@dataclass
class Repair:
    """One repair of a run directory; `actions` says what was done, in order."""

    storage: Storage
    level: Level = Level.FRAMES
    inspect: Inspect = inspect_clip
    actions: list[str] = field(default_factory=list)
    _lock: Lock | None = field(default=None, init=False)
    _rows: Rows = field(default_factory=Rows, init=False)

    def run(self) -> Report:
        """Verify, mend what can be mended, and verify again if anything was done.

        Returns:
            What the last verification found.

        Raises:
            StorageError: the storage failed, or a run is writing there.
        """
        with self.storage.lock() as self._lock:
            report = Report(self.storage.uri, str(self.level))
            verifier = Verifier(self.storage, report, self.level, self.inspect)
            violations = list(verifier.violations())
            self._rows = verifier.rows
            report.collect(violations)
            self._mend(violations, report.unlisted > 0)
            return verify_run(self.storage, self.level, self.inspect) if self.actions else report

    def _mend(self, violations: list[Violation], is_unlisted: bool) -> None:
        kinds = {violation.kind for violation in violations}
        concerns_rows = bool(kinds - _BESIDE_THE_RUN)
        if concerns_rows:  # before anything else: what it says is not so
            self._set_aside(SUCCESS_KEY, "the run is counted anew")
        for violation in violations:
            self._set_files_aside(violation)
        if concerns_rows:
            self._adopt()
        self._clean([v.key or "" for v in violations if v.kind is Kind.TEMPORARY])
        if concerns_rows or is_unlisted:
            self._index(is_wrong=bool(kinds & _LEDGER_IS_WRONG))
        if concerns_rows:
            self._finish()

    def _set_files_aside(self, violation: Violation) -> None:
        if violation.key is None:
            return
        if violation.kind in _CLIP_AND_SIDECAR and violation.id is not None:
            self._set_aside(meta_key(violation.id), violation.message)
            self._set_aside(violation.key, violation.message)
        elif violation.kind in _FILE_ALONE:
            self._set_aside(violation.key, violation.message)

    def _adopt(self) -> None:
        """Commit the clips that lack a sidecar, as far as the rows that ask for them are known."""
        found = orphaned_clips(self.storage, set(committed_ids(self.storage)))
        for provenance in self._provenances(found):
            keys = found.pop(provenance.request.id)
            self._check_lock()
            try:
                result = adopt_clip(self.storage, provenance, self.inspect, keys)
            except OutputConflictError as error:
                result, why = None, str(error)
            else:
                why = "it is not the clip that was asked for, or a second one"
            if result is not None:
                self._say(f"adopted {result.sidecar.key}")
            for key in keys:
                if result is None or key != result.sidecar.key:
                    self._set_aside(key, why)
        for keys in found.values():
            self._say(f"left {', '.join(keys)}: the row that asks for it is not known here")

    def _provenances(self, wanted: dict[str, list[str]]) -> Iterator[Provenance]:
        if not wanted or self._rows.read is None:
            return
        record = read_run_record(self.storage)
        version = record.sampler_version or SAMPLER_VERSION
        for row in self._rows.read():
            if row.id in wanted and row.request is not None:
                name = clip_id(row.request, record.model.digest, version)
                if name == row.clip_id:  # else the results are older and hold a part of the request
                    yield Provenance(row.request, name, record.model, version)

    def _clean(self, seen: list[str]) -> None:
        for key in (key for key in seen if parse_partial(key)):
            self._check_lock()
            self.storage.delete(key)
        num_removed = self.storage.clean_temporary(older_than_s=0.0)
        clean_scratch(self.storage)
        if seen or num_removed:
            self._say(f"removed {max(len(seen), num_removed)} leftovers of interrupted writes")

    def _index(self, *, is_wrong: bool) -> None:
        """List in the ledger the clips that it lacks; if it is wrong, write all of it anew."""
        old = segment_keys(self.storage) if is_wrong else []
        outcomes = Outcomes(self.storage, epoch=0)
        names = (n for n in committed_ids(self.storage) if is_wrong or not outcomes.has_clip(n))
        writer = LedgerWriter(self.storage, next_epoch(self.storage), fence=self._check_lock)
        listed = 0
        for sidecar in read_sidecars(self.storage, names):
            writer.append(sidecar.outcome())
            listed += 1
        for record in self._failures() if is_wrong else ():
            writer.append(record)
        writer.flush()
        if listed:
            self._say(f"listed {listed} clips in the ledger")
        for key in old:
            self._set_aside(key, "the ledger was written anew")

    def _failures(self) -> Iterator[dict[str, Any]]:
        """Every failure that is still known, from the ledger or else from the results."""
        letters = read_dead_letters(self.storage)
        for name, letter in letters.items():
            yield letter.record(name)
        if self._rows.source == "results":
            for record in read_result_failures(self.storage):
                if record["id"] not in letters:
                    yield record

    def _finish(self) -> None:
        """Write the results and `_SUCCESS` if every row is a clip or a named failure now."""
        counts = verify_run(self.storage, Level.SIZES).counts
        open_rows = counts[Kind.MISSING] + counts[Kind.NOT_COMMITTED]
        if open_rows:
            self._say(f"{open_rows} rows have no clip: run the same command again")
        if open_rows or self._rows.read is None:
            return
        record = read_run_record(self.storage)
        writer = ResultsWriter(self.storage, Outcomes(self.storage, epoch=0), self._check_lock)
        ended = writer.write(self._rows.read())
        self._check_lock()
        write_success(self.storage, Success.of(record, ended, writer.digests))
        self._say(f"declared the run complete: {ended.done} done, {ended.failed} failed")

    def _set_aside(self, key: str, why: str) -> None:
        aside = set_aside(self.storage, key, self._check_lock)
        if aside is not None:
            self._say(f"moved {key} to {aside}: {why}")

    def _check_lock(self) -> None:
        if self._lock is not None:
            self._lock.check()

    def _say(self, text: str) -> None:
        self.actions.append(text)
