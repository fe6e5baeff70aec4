from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from videogen_pipelines.ledger import SCHEMA
from videogen_pipelines.summary import (
    RunSummary,
    format_bytes,
    format_seconds,
    summarise,
    summary_table,
)


def done(name: str, created_at: float, **fields: Any) -> dict[str, Any]:
    stages = {"denoise_s": 2.0, "decode_s": 1.0, "encode_s": 0.5, "commit_s": 0.5}
    return {
        "id": name,
        "state": "done",
        "bytes": 1000,
        "duration_s": 1.5,
        "attempts": 1,
        "created_at": created_at,
        **stages,
        **fields,
    }


def failed(name: str, error_class: str | None, attempts: int = 3) -> dict[str, Any]:
    return {"id": name, "state": "failed", "error_class": error_class, "attempts": attempts}


def outcomes(*records: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(records), SCHEMA)


def printed(summary: RunSummary) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(summary_table(summary, "out"))
    return capture.get()


def test_numbers_add_up() -> None:
    summary = summarise(
        outcomes(
            done("a", 100.0),
            done("b", 130.0, attempts=2, bytes=500),
            failed("c", "oom"),
            failed("d", "oom"),
            failed("e", "encode", attempts=1),
            failed("f", None, attempts=0),
        ),
        elapsed_s=60.0,
    )
    assert (summary.done, summary.failed) == (2, 4)
    assert summary.failed_by_class == {"oom": 2, "encode": 1, "unknown": 1}
    assert next(iter(summary.failed_by_class)) == "oom"
    assert summary.retries == 1 + 2 + 2
    assert (summary.bytes, summary.video_s) == (1500, 3.0)
    assert summary.stage_s == {"denoise_s": 4.0, "decode_s": 2.0, "encode_s": 1.0, "commit_s": 1.0}
    assert summary.clips_per_minute == 2.0


def test_unknown_time_is_estimated_from_the_clips() -> None:
    assert summarise(outcomes(done("a", 100.0), done("b", 130.0))).clips_per_minute == 4.0
    assert summarise(outcomes(done("a", 100.0))).clips_per_minute is None
    assert summarise(outcomes(done("a", 100.0), done("b", 100.0))).clips_per_minute is None


def test_nothing_at_all() -> None:
    summary = summarise(outcomes())
    assert (summary.done, summary.failed, summary.bytes, summary.retries) == (0, 0, 0, 0)
    assert "0 done" in printed(summary)


def test_machines_get_json() -> None:
    summary = summarise(outcomes(done("a", 1.0), failed("b", "oom")), elapsed_s=30.0)
    plain = json.loads(json.dumps(summary.to_dict()))
    assert plain["clips_per_minute"] == 2.0
    assert plain["failed_by_class"] == {"oom": 1}


def test_people_get_a_table() -> None:
    text = printed(
        RunSummary(
            done=1200,
            failed=3,
            failed_by_class={"oom": 2, "[bold]": 1},
            retries=5,
            bytes=2_500_000,
            video_s=90.0,
            elapsed_s=3600.0,
            stage_s={"denoise_s": 900.0, "commit_s": 300.0},
        )
    )
    for expected in (
        "1,200 done",
        "2 oom",
        "1 [bold]",
        "1 min 30 s, 2.5 MB",
        "1 h 00 min",
        "20.0 clips/min",
        "0.75",
        "75%",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 KB"), (2.5e9, "2.5 GB"), (3e15, "3000.0 TB")],
)
def test_bytes(count: float, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "0.2 s"),
        (59.9, "59.9 s"),
        (60, "1 min 00 s"),
        (3599.6, "1 h 00 min"),
        (90000, "25 h 00 min"),
    ],
)
def test_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
