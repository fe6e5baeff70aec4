"""A report of ten thousand rows, made from a small one: its videos many times over."""

from __future__ import annotations

import random
import shutil
from os.path import relpath
from pathlib import Path
from typing import Any

from tests.shown_run import handed_over
from videogen.storage import LocalStorage
from videogen_pipelines.report.build import BLOCK
from videogen_pipelines.report.bundle import Bundle
from videogen_pipelines.report.columns import METRIC, table_of
from videogen_pipelines.report.scores import MetricAbout

NUM_CLIPS = 10_000
COLOURS = ("red", "green", "blue", "yellow")


def write_large_report(small: Path, to: Path) -> Path:
    """Write it; its clips are those that `small` shows."""
    run = read_data(small, "a/run")
    table = read_data(small, "a/rows")
    metrics = [MetricAbout(each["name"]) for each in run["metrics"]]
    keys, pictures = (table["columns"][name]["words"] for name in ("key", "pictures"))
    shutil.copytree(small / "pictures", to / "pictures")
    bundle = Bundle(LocalStorage(to))
    random.seed(0)
    rows = [_row(i, keys, pictures, metrics) for i in range(NUM_CLIPS)]
    base = f"{relpath(small.parent, to)}/"
    totals = {"shown": NUM_CLIPS, "total": NUM_CLIPS, "base": base}
    bundle.write_data("report", {"sides": ["a"]})
    bundle.write_data("a/run", {**run, **totals, "block": BLOCK})
    bundle.write_data("a/rows", table_of(rows, metrics, []))
    bundle.finish()
    return to


def read_data(report: Path, name: str) -> Any:
    """What a data script of a report hands to the page."""
    return handed_over((report / "data" / f"{name}.js").read_text())[1]


def _row(
    i: int, keys: list[str], pictures: list[str], metrics: list[MetricAbout]
) -> dict[str, Any]:
    failed = i % 97 == 96
    row: dict[str, Any] = {
        "id": f"clip-{i:05d}",
        "status": "failed" if failed else "done",
        "prompt": f"a {COLOURS[i % 4]} shape number {i} that wanders over a plain of {i % 1000}",
        "seed": str(random.getrandbits(63)),
        "key": None if failed else keys[i % len(keys)],
        "pictures": None if failed else pictures[i % len(pictures)],
        "num_frames": 17,
        "fps": 12.0,
        "width": 64,
        "height": 64,
        "guidance_scale": float(i % 5),
    }
    scores = {f"{METRIC}{each.name}": round(random.random(), 4) for each in metrics}
    return row if failed else {**row, **scores}
