"""Shows a run while it goes on: a live display on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from videogen_cluster.health import Activity
from videogen_cluster.listener import Snapshot
from videogen_pipelines.summary import format_seconds

MAX_ACTIVITIES = 6
_REFRESH_S = 0.25
_BAR_WIDTH = 40


@dataclass(frozen=True, slots=True)
class Speed:
    """Clips a minute and seconds left; None while nothing is known."""

    clips_per_minute: float | None
    eta_s: float | None

    @classmethod
    def of(cls, ended: int, to_do: int, elapsed_s: float) -> Speed:
        """From `ended` clips in `elapsed_s` seconds since the first gang was ready."""
        if ended == 0 or elapsed_s <= 0:
            return cls(None, None)
        per_s = ended / elapsed_s
        return cls(60 * per_s, (to_do - ended) / per_s)


class Progress:
    """Keeps a person informed; use it as a context manager.

    Args:
        to_do: clips to be made, or other things, which `unit` names.
        console: where to write; a terminal gets the live display, anything else log lines.
        interval_s: seconds between log lines.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        to_do: int,
        console: Console,
        interval_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        unit: str = "clips",
    ) -> None:
        self._to_do = to_do
        self._unit = unit
        self._console = console
        self._interval_s = interval_s
        self._clock = clock
        self._snapshot: Snapshot | None = None
        self._ready_at: float | None = None
        self._next_s = clock() + interval_s
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
            self._live.update(self._render(), refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.update(self._render(), refresh=True)
            self._live.stop()
        elif self._snapshot:
            self._console.print(self.line())

    def update(self, snapshot: Snapshot) -> None:
        """Take note of how the run stands, and show it if it is time to."""
        self._snapshot = snapshot
        now = self._clock()
        if self._ready_at is None and snapshot.gangs_ready:
            self._ready_at = now
        if now < self._next_s:
            return
        self._next_s = now + (_REFRESH_S if self._live else self._interval_s)
        if self._live:
            self._live.update(self._render(), refresh=True)
        else:
            self._console.print(self.line(), soft_wrap=True)

    def say(self, message: str) -> None:
        """Write a line that stays."""
        self._console.print(Text(message), soft_wrap=True)

    def line(self) -> str:
        """The state of the run in one line."""
        parts = [self._counts(), *self._rates()]
        if self._snapshot and self._snapshot.activities:
            parts.append(_doing(self._snapshot.activities[0]))
        return ", ".join(parts)

    def _render(self) -> RenderableType:
        head = Table.grid(padding=(0, 1))
        ended = self._ended()
        head.add_row(
            ProgressBar(total=max(self._to_do, 1), completed=ended, width=_BAR_WIDTH),
            Text(" · ".join([self._counts(), *self._rates()])),
        )
        activities = self._snapshot.activities if self._snapshot else ()
        lines = [Text(f"  {_doing(activity)}", "dim") for activity in activities[:MAX_ACTIVITIES]]
        if more := len(activities) - MAX_ACTIVITIES:
            lines += [Text(f"  and {more} more", "dim")] if more > 0 else []
        return Group(head, *lines)

    def _ended(self) -> int:
        return self._snapshot.completed + self._snapshot.dead_lettered if self._snapshot else 0

    def _counts(self) -> str:
        done = self._snapshot.completed if self._snapshot else 0
        failed = self._snapshot.dead_lettered if self._snapshot else 0
        return f"{done}/{self._to_do} {self._unit}" + (f", {failed} failed" if failed else "")

    def _rates(self) -> list[str]:
        if self._snapshot is None or not self._snapshot.gangs_ready:
            return [_why_nothing_runs(self._snapshot)]
        if self._snapshot.stopping:
            return ["stopping"]
        since = self._clock() - (self._ready_at or 0.0)
        speed = Speed.of(self._ended(), self._to_do, since)
        if speed.clips_per_minute is None or speed.eta_s is None:
            return []
        rates = [f"{speed.clips_per_minute:.1f} {self._unit}/min"]
        return [*rates, f"{format_seconds(speed.eta_s)} left"] if speed.eta_s else rates


def _why_nothing_runs(snapshot: Snapshot | None) -> str:
    if snapshot and snapshot.stopping:
        return "stopping"
    if snapshot and snapshot.gangs_waiting == snapshot.gangs_total:
        return "waiting until the cluster has room"
    return "loading model"


def _doing(activity: Activity) -> str:
    return f"{activity.item_id}: {activity.stage} {activity.step}/{activity.total}"
