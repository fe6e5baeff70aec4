"""A rank of a gang of four dies, again and again in one run, or hangs in the middle of a step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SOURCE_ROOTS

# Four ranks, and seconds that are measured.
pytestmark = [
    pytest.mark.chaos,
    pytest.mark.cluster,
    pytest.mark.alone,
    pytest.mark.timeout(400),
]

STEPS = 60
HANG_TIMEOUT_S = 5


@pytest.fixture
def settings(tiny_model: Path, tmp_path: Path) -> dict[str, Any]:
    """A row for every kill, to be made by one gang of four ranks."""
    manifest = tmp_path / "rows.jsonl"
    gang = ["cluster.gang.cfg_degree=2", "cluster.gang.seq_degree=2", "cluster.gangs=1"]
    return {
        "manifest": str(manifest),
        "out": str(tmp_path / "out"),
        "overrides": [f"model.name={tiny_model}", *gang],
    }


def test_lost_ranks_cost_gangs_and_no_clip(
    settings: dict[str, Any],
    start_program: Callable[..., Any],
    request: pytest.FixtureRequest,
    thorough: bool,
):
    num_kills = 10 if thorough else 3
    kills = run(settings | {"num_kills": num_kills, "signal": "SIGKILL"})
    show(request, kills)
    assert [kill["num_ranks"] for kill in kills] == [4] * num_kills
    assert {kill["error_class"] for kill in kills} == {"rank_death"}
    assert max(kill["lost_s"] for kill in kills) < 10
    assert max(kill["ready_s"] for kill in kills) < 20
    expect_proof(settings, start_program, num_kills)


def test_a_rank_that_hangs_costs_its_gang_and_no_clip(
    settings: dict[str, Any], start_program: Callable[..., Any], request: pytest.FixtureRequest
):
    """SIGSTOP: the other ranks wait in a collective, and Ray notices nothing."""
    settings["overrides"].append(f"cluster.hang_timeout_s={HANG_TIMEOUT_S}")
    stops = run(settings | {"num_kills": 1, "signal": "SIGSTOP"})
    show(request, stops)
    assert [stop["error_class"] for stop in stops] == ["hang"]
    # It is silent since it was heard last, up to half a second before it was stopped.
    assert HANG_TIMEOUT_S - 1 <= stops[0]["lost_s"] < HANG_TIMEOUT_S + 5
    expect_proof(settings, start_program, 1)


def expect_proof(settings: dict[str, Any], start_program: Callable[..., Any], count: int) -> None:
    """Every row is one clip that was redone."""
    sidecars = [json.loads(p.read_text()) for p in Path(settings["out"]).glob("meta/*/*.json")]
    assert len(sidecars) == count
    assert all(sidecar["attempts"] > 1 for sidecar in sidecars), "not redone"
    proof = start_program("verify", settings["out"], "--json").wait(60)
    assert proof.code == 0, f"{proof.out}\n{proof.err}"


def run(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Make as many clips as ranks are hit; returns what came of each."""
    manifest = Path(settings["manifest"])
    rows = [
        {"id": f"clip-{index:02d}", "prompt": "a red circle", "num_inference_steps": STEPS}
        for index in range(settings["num_kills"])
    ]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    described = manifest.with_name("settings.json")
    described.write_text(json.dumps(settings))
    ended = subprocess.run(
        [sys.executable, "-m", "tests.chaos.sharded_run", str(described)],
        cwd=SOURCE_ROOTS[0],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, SOURCE_ROOTS))},
        capture_output=True,
        text=True,
        timeout=360,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    return [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]


def show(request: pytest.FixtureRequest, kills: list[dict[str, Any]]) -> None:
    """A line for people: how soon the losses were known, and how soon new gangs stood."""
    terminal: Any = request.config.pluginmanager.getplugin("terminalreporter")
    if terminal and kills:
        spans = [
            f"{name[:-2]} {min(values):.1f} to {max(values):.1f} s"
            for name in ("lost_s", "ready_s", "done_s")
            for values in [[kill[name] for kill in kills]]
        ]
        terminal.ensure_newline()
        terminal.write_line(f"{len(kills)} ranks hit; after that: {', '.join(spans)}")
