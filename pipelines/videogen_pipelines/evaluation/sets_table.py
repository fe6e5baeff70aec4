"""Numbers of sets and pairs for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text


def sets_table(sets: Mapping[str, Any] | None) -> RenderableType | None:
    """What `metrics/sets.json` says; None where there is nothing to say."""
    if sets is None:
        return None
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("set", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True, min_width=8)
    table.add_column("of", style="dim")
    for name, said in sets["all"].items():
        table.add_row(name, f"{said['value']:.4g}", _counts(said))
    for entry in sets.get("points", ()):
        point = ", ".join(f"{field} {_spoken(value)}" for field, value in entry["point"].items())
        for name, said in entry["metrics"].items():
            short = ".".join(name.split(".")[:2])
            table.add_row(f"  {short}, {point}", f"{said['value']:.4g}", _counts(said))
    pairs = sets["pairs"]
    for name, said in (pairs or {"metrics": {}})["metrics"].items():
        spread = f"{pairs['count']:,} pairs, p5 {said['p5']:.4g}, p95 {said['p95']:.4g}"
        table.add_row(name, f"{said['mean']:.4g}", spread)
    lines = [Text(f"warning: {each}") for each in warnings_of(sets)]
    return Group(table, *lines) if table.rows or lines else None


def warnings_of(sets: Mapping[str, Any]) -> list[str]:
    """Everything that has to be said with the numbers, once each."""
    found = list(sets["warnings"])
    for said in sets["all"].values():
        found += said["warnings"]
    reference, pairs = sets["reference"], sets["pairs"]
    if reference is not None and reference["failures"]:
        found.append(f"{len(reference['failures']):,} clips of the reference could not be read")
    if reference is not None and pairs is None:
        found.append("no id is in both, so no clips were paired")
    if pairs is not None and pairs["failed"]:
        name, why = next(iter(pairs["failed"].items()))
        found.append(f"{len(pairs['failed']):,} pairs could not be compared, such as {name}: {why}")
    return list(dict.fromkeys(found))


def _counts(said: Mapping[str, Any]) -> str:
    clips = f"{said['num_clips']:,} clips"
    return f"{clips} of {said['num_prompts']:,} prompts" if "num_prompts" in said else clips


def _spoken(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
