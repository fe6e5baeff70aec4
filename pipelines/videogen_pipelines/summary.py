"""What an invocation did, in numbers: clips, failures by class, speed, bytes, seconds by stage."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from videogen_pipelines.cost import money

STAGES = ("denoise_s", "decode_s", "encode_s", "commit_s")


@dataclass(frozen=True)
class RunSummary:
    """Numbers over a set of outcomes.

    `video_s` is the length of all clips together, `elapsed_s` the time it took (None: unknown),
    `stage_s` the seconds spent in each stage, over all clips, `gpu_s` the seconds that the devices
    of all ranks gave to them, `lost_gpu_s` (an estimate) to attempts that came to nothing.
    """

    done: int = 0
    failed: int = 0
    failed_by_class: dict[str, int] = field(default_factory=dict)
    retries: int = 0
    bytes: int = 0
    video_s: float = 0.0
    elapsed_s: float | None = None
    stage_s: dict[str, float] = field(default_factory=dict)
    gpu_s: float = 0.0
    lost_gpu_s: float | None = None
    price_per_gpu_hour: float = 0.0

    @property
    def cost(self) -> float | None:
        """In the currency of the price; None where there is no price."""
        return money(self.gpu_s + (self.lost_gpu_s or 0.0), self.price_per_gpu_hour)

    @property
    def clips_per_minute(self) -> float | None:
        """Committed clips a minute of wall time; None where the time is unknown."""
        return 60 * self.done / self.elapsed_s if self.elapsed_s else None

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {**asdict(self), "clips_per_minute": self.clips_per_minute, "cost": self.cost}


def summarise(outcomes: pa.Table, elapsed_s: float | None = None) -> RunSummary:
    """Add up a table of outcomes (`ledger.SCHEMA`), one row an id.

    Args:
        elapsed_s: wall time the outcomes took; None estimates it from the first to the last clip,
            which leaves out how long the first one took.
    """
    done = outcomes.filter(pc.field("state") == "done")
    failed = outcomes.filter(pc.field("state") == "failed")
    classes = Counter(name or "unknown" for name in failed["error_class"].to_pylist())
    return RunSummary(
        done=len(done),
        failed=len(failed),
        failed_by_class=dict(classes.most_common()),
        retries=sum(max(count - 1, 0) for count in outcomes["attempts"].to_pylist() if count),
        bytes=int(_total(done, "bytes")),
        video_s=_total(done, "duration_s"),
        elapsed_s=_span_s(done) if elapsed_s is None else elapsed_s,
        stage_s={stage: _total(done, stage) for stage in STAGES},
        gpu_s=_total(done, "gpu_s"),
    )


def summary_table(summary: RunSummary, title: str = "Run") -> RenderableType:
    """A table for the terminal."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    table.add_row("clips", Text(f"{summary.done:,} done", "green" if summary.done else "dim"))
    if summary.failed:
        table.add_row("failed", Text(f"{summary.failed:,}", "bold red"))
    for name, count in summary.failed_by_class.items():
        table.add_row("", Text(f"{count:,} {name}", "red"))
    if summary.retries:
        table.add_row("retries", f"{summary.retries:,}")
    for name, value in _speed(summary):
        table.add_row(name, value)
    return Group(table, _stages(summary)) if summary.done else table


def format_bytes(count: float) -> str:
    """`1536` as `1.5 KB`, in powers of 1000 like disks."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def format_seconds(seconds: float) -> str:
    """`4000` as `1 h 06 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def format_device_time(gpu_s: float, lost_gpu_s: float) -> str:
    """How long devices worked, and how much of it was in vain."""
    useful = f"{format_seconds(gpu_s)} of GPU or CPU time"
    return f"{useful}, and {format_seconds(lost_gpu_s)} lost" if lost_gpu_s >= 0.1 else useful


def format_money(cost: float, clips: int) -> str:
    """In no currency: that of the price is not known."""
    return f"{cost:,.2f}" + (f", {cost / clips:,.4f} a clip" if clips else "")


def _speed(summary: RunSummary) -> list[tuple[str, str]]:
    rows = [
        ("video", f"{format_seconds(summary.video_s)}, {format_bytes(summary.bytes)}"),
    ]
    if summary.elapsed_s:
        rows.append(("elapsed", format_seconds(summary.elapsed_s)))
    if summary.clips_per_minute:
        rows.append(("speed", f"{summary.clips_per_minute:,.1f} clips/min"))
    if summary.gpu_s:
        rows.append(("devices", format_device_time(summary.gpu_s, summary.lost_gpu_s or 0.0)))
    if summary.cost is not None:
        rows.append(("cost", format_money(summary.cost, summary.done)))
    return rows


def _stages(summary: RunSummary) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("stage", style="dim")
    table.add_column("s/clip", justify="right")
    table.add_column("share", justify="right")
    total = sum(summary.stage_s.values())
    for name, seconds in summary.stage_s.items():
        share = seconds / total if total else 0.0
        stage = name.removesuffix("_s")
        table.add_row(stage, f"{seconds / summary.done:.2f}", f"{share:.0%}")
    return table


def _total(table: pa.Table, name: str) -> float:
    return pc.call_function("sum", [table[name]]).as_py() or 0


def _span_s(done: pa.Table) -> float | None:
    if len(done) < 2:
        return None
    ends = pc.call_function("min_max", [done["created_at"]]).as_py()
    return ends["max"] - ends["min"] or None
