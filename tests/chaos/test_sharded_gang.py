"""A rank of a gang of four dies in the middle of a denoising step, ten times in one run."""

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

pytestmark = [pytest.mark.chaos, pytest.mark.cluster, pytest.mark.timeout(400)]

NUM_KILLS = 10
STEPS = 60


def test_ten_lost_ranks_cost_ten_gangs_and_no_clip(
    start_program: Callable[..., Any],
    tiny_model: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
):
    rows = [
        {"id": f"clip-{index:02d}", "prompt": "a red circle", "num_inference_steps": STEPS}
        for index in range(NUM_KILLS)
    ]
    manifest, out = tmp_path / "rows.jsonl", tmp_path / "out"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    gang = ["cluster.gang.cfg_degree=2", "cluster.gang.seq_degree=2", "cluster.gangs=1"]
    settings = {
        "manifest": str(manifest),
        "out": str(out),
        "num_kills": NUM_KILLS,
        "overrides": [f"model.name={tiny_model}", *gang],
    }
    kills = run(tmp_path, settings)
    show(request, kills)

    assert len(kills) == NUM_KILLS
    assert {kill["num_ranks"] for kill in kills} == {4}
    assert {kill["error_class"] for kill in kills} == {"rank_death"}
    assert max(kill["lost_s"] for kill in kills) < 10
    assert max(kill["ready_s"] for kill in kills) < 20
    for row in rows:
        path = next(out.glob(f"meta/*/{row['id']}.json"))
        assert json.loads(path.read_text())["attempts"] > 1, "not redone"
    proof = start_program("verify", out, "--json").wait(60)
    assert proof.code == 0, f"{proof.out}\n{proof.err}"


def run(folder: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    (folder / "settings.json").write_text(json.dumps(settings))
    ended = subprocess.run(
        [sys.executable, "-m", "tests.chaos.sharded_run", str(folder / "settings.json")],
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
    terminal = request.config.pluginmanager.getplugin("terminalreporter")
    if terminal and kills:
        spans = [
            f"{name[:-2]} {min(values):.1f} to {max(values):.1f} s"
            for name in ("lost_s", "ready_s", "done_s")
            for values in [[kill[name] for kill in kills]]
        ]
        terminal.write_line(f"{len(kills)} ranks killed; after the kill: {', '.join(spans)}")
