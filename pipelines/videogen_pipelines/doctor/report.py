"""The checks as a table for people and as plain values for machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from videogen_pipelines.doctor.checks import Check, Status
from videogen_pipelines.doctor.examination import has_failed

if TYPE_CHECKING:
    from rich.console import RenderableType

_STYLES = {
    Status.OK: "green",
    Status.WARNING: "yellow",
    Status.FAILED: "bold red",
    Status.SKIPPED: "dim",
}
_NEEDS_MENDING = (Status.FAILED, Status.WARNING)


def to_dict(checks: Sequence[Check]) -> dict[str, Any]:
    """JSON types only: `ok`, how many checks ended how, and all checks in order."""
    return {
        "ok": not has_failed(checks),
        "counts": {status.value: count(checks, status) for status in Status},
        "checks": [check.to_dict() for check in checks],
    }


def count(checks: Sequence[Check], status: Status) -> int:
    return sum(check.status is status for check in checks)


def render(checks: Sequence[Check]) -> RenderableType:
    """A table, then the remedies, then one line that says how it went."""
    from rich.console import Group
    from rich.text import Text

    remedies = [
        Text.assemble((f"{check.family} {check.name}: ", _STYLES[check.status]), check.fix)
        for check in checks
        if check.status in _NEEDS_MENDING and check.fix
    ]
    if remedies:
        remedies = [Text("\nHow to mend it", style="bold"), *remedies]
    return Group(_table(checks), *remedies, Text(f"\n{closing(checks)}"))


def _table(checks: Sequence[Check]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("found")
    family = ""
    for check in checks:
        if check.family != family:
            family = check.family
            table.add_row(Text(family, style="bold"))
        status = Text(check.status.value, style=_STYLES[check.status])
        table.add_row(f"  {check.name}", status, Text(check.found))
    return table


def closing(checks: Sequence[Check]) -> str:
    """One line: how many checks ended how."""
    parts = [
        f"{count(checks, status)} {status.value}" for status in Status if count(checks, status)
    ]
    return ", ".join(parts)
