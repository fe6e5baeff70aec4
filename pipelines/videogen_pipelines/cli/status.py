"""`videogen status OUT`: how a run stands, from any machine that can read its output."""

from __future__ import annotations

import json as json_module
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from videogen_pipelines.cli.errors import ENVIRONMENT
from videogen_pipelines.cli.outcomes import CODES

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from videogen.storage import Storage
    from videogen_pipelines.run_view import RunView
    from videogen_pipelines.status import Status

_COLOURS = {
    "complete": "green",
    "running": "green",
    "starting": "cyan",
    "submitted": "cyan",
    "draining": "yellow",
}
_SHOWN_CLIPS = 8
_SHOWN_EVENTS = 6


def status(
    out: Annotated[str, typer.Argument(help="The output of 'generate' or 'submit'.")],
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Stay until the run ends, with its exit code.")
    ] = False,
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between looks.")] = 5.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Show how a run stands: clips, speed, time left, cost, gangs, failures, the last events.

    It reads the output alone, so it works from any machine and after the run has died.

    Example: videogen status s3://bucket/run --watch
    """
    from videogen.storage import open_storage

    storage = open_storage(out)
    if watch:
        raise typer.Exit(_watch(storage, interval, as_json=json))
    _show(_looked(storage), as_json=json)


def _looked(storage: Storage) -> RunView:
    from videogen_pipelines.run_view import look

    return look(storage)


def _show(view: RunView, *, as_json: bool) -> None:
    from rich.console import Console

    if as_json:
        typer.echo(json_module.dumps(view.to_dict(), indent=2))
    else:
        Console().print(render(view))


def _watch(storage: Storage, interval_s: float, *, as_json: bool) -> int:
    if as_json:

        def print_line(view: RunView) -> None:
            typer.echo(json_module.dumps(view.to_dict()))

        return _until_ended(storage, interval_s, print_line)
    from rich.console import Console
    from rich.live import Live

    console = Console()
    if not console.is_terminal:
        return _until_ended(storage, interval_s, lambda view: console.print(render(view)))
    with Live(console=console, auto_refresh=False) as live:
        return _until_ended(
            storage, interval_s, lambda view: live.update(render(view), refresh=True)
        )


def _until_ended(storage: Storage, interval_s: float, show: Callable[[RunView], None]) -> int:
    while True:
        view = _looked(storage)
        show(view)
        if view.ended:
            return CODES.get(view.state, ENVIRONMENT)
        time.sleep(interval_s)


def render(view: RunView) -> RenderableType:
    """The table for the terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    table.add_row("run", Text(view.uri))
    table.add_row("state", Text(headline(view), _COLOURS.get(view.state, "bold red")))
    for name, value in [*_clips(view), *(_running(view.status) if view.status else [])]:
        table.add_row(name, Text(value))
    return Group(table, *(_details(view.status) if view.status else []))


def headline(view: RunView) -> str:
    """The state in one line, and what to do about it."""
    from videogen_pipelines.sidecar import now
    from videogen_pipelines.summary import format_seconds

    if view.state == "silent":
        return (
            f"no sign of life for {format_seconds(view.silent_s or 0)}: if the run is gone, "
            "the same command continues it"
        )
    if view.state == "unknown":
        return "unknown: no coordinator wrote status.json; the clips were counted instead"
    if view.submitted:
        waited = format_seconds((now() - view.submitted.submitted_at).total_seconds())
        return (
            f"submitted {waited} ago as {view.submitted.job_id}, not started yet: 'videogen logs "
            f"{view.uri} --address {view.submitted.address}' shows why"
        )
    if view.state == "interrupted":
        return "interrupted; the same command continues it"
    if view.state == "some_failed":
        return f"ended, some failed: {view.uri}/errors.jsonl; the same command tries them again"
    if view.state == "error":
        return f"ended with an error: {view.status.message if view.status else 'unknown'}"
    return view.state


def _clips(view: RunView) -> list[tuple[str, str]]:
    of = "" if view.rows is None else f" of {view.rows:,}"
    share = f" ({view.done / view.rows:.1%})" if view.rows else ""
    rows = [("clips", f"{view.done:,}{of} done{share}")]
    if view.pending:
        flying = len(view.status.in_flight) if view.status else 0
        rows.append(("pending", f"{view.pending:,}" + (f", {flying} in flight" if flying else "")))
    if view.failed:
        classes = ", ".join(f"{count:,} {name}" for name, count in view.errors_by_class.items())
        rows.append(("failed", f"{view.failed:,}" + (f": {classes}" if classes else "")))
    return rows


def _running(status: Status) -> list[tuple[str, str]]:
    from videogen_pipelines.summary import format_device_time, format_money, format_seconds

    rows = []
    if status.clips_per_minute and not status.ended:
        left = f", {format_seconds(status.eta_s)} left" if status.eta_s else ""
        rows.append(("speed", f"{status.clips_per_minute:,.1f} clips/min{left}"))
    if not status.ended:
        lost = f", {status.gangs.lost} lost so far" if status.gangs.lost else ""
        rows.append(("gangs", f"{status.gangs.ready} of {status.gangs.total} ready{lost}"))
    if status.gpu_s or status.lost_gpu_s:
        rows.append(("devices", format_device_time(status.gpu_s, status.lost_gpu_s)))
    if status.cost is not None:
        rows.append(("cost", format_money(status.cost, status.done)))
    if status.told:
        rows.append(("told", f"to stop, by {status.told.by}"))
    who = f"{status.coordinator.node}, process {status.coordinator.pid}"
    rows.append(("coordinator", who + (f", job {status.job_id}" if status.job_id else "")))
    return rows


def _details(status: Status) -> list[RenderableType]:
    from rich.text import Text

    from videogen_pipelines.cli.logs import event_line

    lines = [
        f"  {clip.id}: {clip.stage} {clip.step}/{clip.total}"
        + (f" on {clip.gang}" * bool(clip.gang))
        for clip in status.in_flight[:_SHOWN_CLIPS]
    ]
    if more := len(status.in_flight) - len(lines):
        lines.append(f"  and {more} more")
    events: list[dict[str, Any]] = list(status.recent_events[-_SHOWN_EVENTS:])
    lines += [f"  {event_line(event)}" for event in events]
    return [Text("\n".join(lines), "dim", overflow="ellipsis", no_wrap=True)] if lines else []
