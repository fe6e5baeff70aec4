"""Validation as a program: rows are kept, and a second run measures nothing anew."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from videogen.evaluation.validation import measure as measure_clip
from videogen_pipelines.evaluation import validate as program


class HereAlone:
    """A pool that is this process."""

    def __init__(self, processes: int) -> None:
        self.processes = processes

    def __enter__(self) -> HereAlone:
        return self

    def __exit__(self, *told: object) -> None: ...

    def imap_unordered(self, work, tasks):
        return map(work, tasks)


def test_what_is_measured_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(program, "generated_names", lambda count: iter(()))
    monkeypatch.setattr(program.multiprocessing, "get_context", lambda kind: _Context())
    seen = []

    def measure(clip, evaluator, seed):
        seen.append(clip.name)
        return measure_clip(clip, _Fast(), seed)

    monkeypatch.setattr(program, "measure", measure)
    said = Console(file=io.StringIO())
    first = program.validate(tmp_path, 2, 1, said)
    assert len(seen) == first.num_clips == 1
    assert "`flicker.luma`" in (tmp_path / "table.md").read_text()
    (kept,) = (tmp_path / "clips").iterdir()
    assert len(json.loads(kept.read_text())) == 1 + 4 * 14 + 10
    assert program.validate(tmp_path, 2, 1, said) == first
    assert len(seen) == 1
    kept.unlink()
    assert program.validate(tmp_path, 2, 1, said) == first
    assert len(seen) == 2


class _Context:
    def Pool(self, processes: int) -> HereAlone:
        return HereAlone(processes)


class _Fast:
    """An evaluator that says the same of everything but for brightness."""

    def evaluate(self, frames, fps, boundaries=()):
        return _Numbers(float(frames.mean()))


class _Numbers:
    def __init__(self, value: float) -> None:
        self.value = value

    def values(self) -> dict[str, float]:
        from videogen.evaluation import METRICS

        return dict.fromkeys(METRICS, self.value)
