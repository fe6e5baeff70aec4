"""A run of the real program on a Ray cluster against S3, what can be seen of it, and its proof."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videogen.storage import open_storage
from videogen_pipelines.committed import committed_ids
from videogen_pipelines.events import read_events

Event = dict[str, Any]


class Run:
    """One output, and the programs that write to it."""

    def __init__(self, start: Callable[..., Any], address: str, out: str, manifest: Path) -> None:
        self._start = start
        self._address = address
        self.out = out
        self.manifest = manifest
        self.storage = open_storage(out)

    def generate(self, **settings: object) -> Any:
        """Start the coordinator; `settings` are of the cluster section."""
        chosen = {"address": self._address, **settings}
        overrides = [f"--set=cluster.{name}={value}" for name, value in chosen.items()]
        return self._start("generate", self.manifest, "--out", self.out, "--json", *overrides)

    def verify(self) -> dict[str, Any]:
        """Have the program prove that every row is one clip; returns its report."""
        ended = self._start("verify", self.out, "--json").wait(120)
        assert ended.code == 0, f"{ended.out}\n{ended.err}"
        return json.loads(ended.out)

    def num_rows(self) -> int:
        return len(self.manifest.read_text().splitlines())

    def committed(self) -> int:
        return sum(1 for _ in committed_ids(self.storage))

    def events(self, name: str | None = None, since: float = 0.0) -> list[Event]:
        """What the event log says, oldest first."""
        return [
            event
            for event in read_events(self.storage)
            if name in (None, event["event"]) and event["at"] >= since
        ]


@dataclass(frozen=True)
class FaultLine:
    """What one fault did; `detected_s` and `recovered_s` count from the fault."""

    fault: str
    detected_s: float | None
    recovered_s: float | None
    redone: int
    clips: int
    elapsed_s: float


@dataclass
class FaultTable:
    """The lines of all faults, for people."""

    rows: list[FaultLine] = field(default_factory=list)

    def render(self) -> str:
        head = ("fault", "detected", "new gang", "clips redone", "clips", "run")
        lines = [
            (
                row.fault,
                _seconds(row.detected_s),
                _seconds(row.recovered_s),
                str(row.redone),
                str(row.clips),
                _seconds(row.elapsed_s),
            )
            for row in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            for line in (head, *lines)
        )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def wait_for(is_so: Callable[[], Any], timeout_s: float = 60.0, what: str = "it") -> Any:
    """The first true value of `is_so`."""
    deadline = time.monotonic() + timeout_s
    while not (found := is_so()):
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
        time.sleep(0.1)
    return found
