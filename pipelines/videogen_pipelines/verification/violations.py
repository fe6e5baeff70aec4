"""What can be wrong with a run directory, by kind, and the report that counts it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

MAX_KEPT = 1000


class Kind(StrEnum):
    """The kinds of violations, as they are named to people and machines."""

    UNFINISHED = "unfinished"
    MISSING = "missing"
    NOT_COMMITTED = "not_committed"
    ORPHAN = "orphan"
    DUPLICATE = "duplicate"
    NO_CLIP = "no_clip"
    DAMAGED_CLIP = "damaged_clip"
    DAMAGED_SIDECAR = "damaged_sidecar"
    WRONG_CLIP = "wrong_clip"
    FOREIGN = "foreign"
    LEDGER = "ledger"
    RESULTS = "results"
    TEMPORARY = "temporary"


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is not as it must be; `key` is the file it is about, `id` the row."""

    kind: Kind
    message: str
    id: str | None = None
    key: str | None = None


@dataclass
class Report:
    """What a verification found.

    `rows_from` says where the rows come from: "results", "manifest", or "storage" if nothing tells
    them. `outside` clips belong to no row of the latest manifest; `unlisted` ones are committed and
    not in the ledger yet. Both are fine. Only the first violations are kept, all are counted.
    """

    uri: str
    level: str
    rows_from: str = "storage"
    rows: int = 0
    clips: int = 0
    failed: int = 0
    outside: int = 0
    unlisted: int = 0
    bytes: int = 0
    notes: list[str] = field(default_factory=list)
    counts: Counter[Kind] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    @property
    def proven(self) -> bool:
        return not self.counts

    def add(self, violation: Violation) -> None:
        """Count one more."""
        self.counts[violation.kind] += 1
        if len(self.violations) < MAX_KEPT:
            self.violations.append(violation)

    def collect(self, violations: Iterable[Violation]) -> Report:
        """Count all of `violations`; returns itself."""
        for violation in violations:
            self.add(violation)
        return self

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {
            "proven": self.proven,
            **{name: getattr(self, name) for name in _PLAIN},
            "counts": {str(kind): count for kind, count in sorted(self.counts.items())},
            "violations": [asdict(violation) for violation in self.violations],
            "violations_left_out": self.counts.total() - len(self.violations),
        }


_PLAIN = (
    "uri",
    "level",
    "rows_from",
    "rows",
    "clips",
    "failed",
    "outside",
    "unlisted",
    "bytes",
    "notes",
)
