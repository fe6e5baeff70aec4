"""What a check is: a question about this machine, and the finding that answers it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, and how to mend it where it is not ok."""

    status: Status
    found: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """One question; `look` may raise, which is then what was found."""

    name: str
    look: Callable[[], Finding]


@dataclass(frozen=True, slots=True)
class Family:
    """Probes that belong together and run in this order.

    `remote` ones wait for other machines: they run beside the rest, so that a silent machine costs
    no more than its own time.
    """

    name: str
    probes: tuple[Probe, ...]
    remote: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """A probe and its answer."""

    family: str
    name: str
    status: Status
    found: str
    fix: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {
            "family": self.family,
            "name": self.name,
            "status": self.status.value,
            "found": self.found,
            "fix": self.fix,
            "seconds": round(self.seconds, 3),
        }


def ok(found: str) -> Finding:
    return Finding(Status.OK, found)


def warning(found: str, fix: str) -> Finding:
    return Finding(Status.WARNING, found, fix)


def failed(found: str, fix: str) -> Finding:
    return Finding(Status.FAILED, found, fix)


def skipped(found: str, fix: str = "") -> Finding:
    return Finding(Status.SKIPPED, found, fix)
