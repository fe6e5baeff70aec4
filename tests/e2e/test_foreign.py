"""A pipeline of diffusers through the installed program: Ray, a manifest, a second run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_foreign import stable_diffusion

pytestmark = pytest.mark.e2e


def test_a_manifest_becomes_clips_of_one_frame(start_program: Callable[..., Any], tmp_path: Path):
    pytest.importorskip("diffusers")
    model = stable_diffusion(tmp_path / "pipeline").replace(str(tmp_path), ".")
    rows = [
        {"id": f"row-{i}", "prompt": "a red circle", "num_inference_steps": 2} for i in range(3)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ("generate", "rows.jsonl", "--model", model, "--out", "out", "--gangs", 1, "--json")
    ended = start_program(*command).wait()
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["done"] == 3
    sidecars = [json.loads(path.read_text()) for path in tmp_path.glob("out/meta/*/*.json")]
    assert {one["id"] for one in sidecars} == {"row-0", "row-1", "row-2"}
    assert {one["frames"] for one in sidecars} == {1}
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert record["inputs"]["model"] == f"diffusers:{tmp_path}/pipeline"
