"""`videogen show OUT`: what a run made, as a table in the terminal and a contact sheet."""

from __future__ import annotations

import json as json_module
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from videogen.storage import Storage
    from videogen_pipelines.sidecar import Sidecar
    from videogen_pipelines.summary import RunSummary


@dataclass(frozen=True)
class Shown:
    """What `show` found: the numbers of the whole run and the first clips of it."""

    uri: str
    model: str
    complete: bool
    summary: RunSummary
    clips: list[Sidecar]
    sheet: str | None

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {
            "uri": self.uri,
            "model": self.model,
            "complete": self.complete,
            "summary": self.summary.to_dict(),
            "contact_sheet": self.sheet,
            "clips": [clip.model_dump(mode="json", by_alias=True) for clip in self.clips],
        }


def show(
    out: Annotated[str, typer.Argument(help="The output of 'videogen generate'.")],
    limit: Annotated[int, typer.Option(min=1, help="How many clips to show.")] = 12,
    sheet: Annotated[bool, typer.Option(help="Write OUT/contact_sheet.png as well.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Show what a run made: its clips, failures and speed, and a contact sheet.

    Example: videogen show out --limit 20
    """
    from rich.console import Console

    from videogen.storage import open_storage

    shown = describe(open_storage(out), limit, sheet)
    if json:
        typer.echo(json_module.dumps(shown.to_dict(), indent=2))
    else:
        Console().print(render(shown))


def describe(storage: Storage, limit: int, with_sheet: bool) -> Shown:
    """Read a run directory, and write its contact sheet if asked to.

    Raises:
        StorageError: it is no run directory, or cannot be read or written.
        MediaError: a clip cannot be decoded.
    """
    from videogen_pipelines.committed import committed_ids, read_sidecars
    from videogen_pipelines.contact_sheet import write_contact_sheet
    from videogen_pipelines.results import read_outcomes
    from videogen_pipelines.run_record import read_run_record
    from videogen_pipelines.success import SUCCESS_KEY
    from videogen_pipelines.summary import summarise

    model = read_run_record(storage).model.name
    summary = summarise(read_outcomes(storage))
    clips = list(islice(read_sidecars(storage, islice(committed_ids(storage), limit)), limit))
    title = f"{storage.uri}   {len(clips)} of {summary.done:,} clips   model {model}"
    return Shown(
        uri=storage.uri,
        model=model,
        complete=storage.exists(SUCCESS_KEY),
        summary=summary,
        clips=clips,
        sheet=write_contact_sheet(storage, clips, title) if with_sheet else None,
    )


def render(shown: Shown) -> RenderableType:
    """The tables for the terminal."""
    from rich.console import Group
    from rich.text import Text

    from videogen_pipelines.summary import summary_table

    state = "complete" if shown.complete else "not complete"
    title = f"{shown.uri} · model {shown.model} · {state}"
    parts: list[RenderableType] = [summary_table(shown.summary, title), Text(), _clips(shown)]
    if shown.sheet:
        parts.append(Text(f"\ncontact sheet: {shown.uri}/{shown.sheet}"))
    return Group(*parts)


def _clips(shown: Shown) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("id", no_wrap=True, max_width=28)
    for name in ("size", "frames", "fps", "seconds"):
        table.add_column(name, no_wrap=True, justify="right", min_width=len(name))
    table.add_column("prompt")
    for clip in shown.clips:
        request, timings = clip.request, clip.timings
        spent_s = timings.denoise_s + timings.decode_s + timings.encode_s + timings.commit_s
        table.add_row(
            Text(clip.id, overflow="ellipsis"),
            f"{request.width}×{request.height}",
            str(clip.frames),
            f"{request.fps:g}",
            f"{spent_s:.1f}",
            Text(request.prompt, overflow="ellipsis", no_wrap=True),
        )
    return table
