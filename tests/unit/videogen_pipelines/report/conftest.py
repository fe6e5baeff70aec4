"""A run of few clips, scored once for all tests of the report."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.shown_run import demo_requests, make_run, score
from videogen.storage import LocalStorage

FAILED = {"green-1": "out of memory", "green-5": "out of <memory>"}


@pytest.fixture(scope="session")
def scored_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "demo"
    wanted = [r for r in demo_requests() if not r.id.startswith("blue")]
    make_run(folder, wanted, FAILED)
    score(folder, metrics=["flicker.luma", "frame.contrast"])
    return folder


@pytest.fixture
def run(scored_run: Path, tmp_path: Path) -> LocalStorage:
    """A copy of it to change."""
    folder = tmp_path / "demo"
    shutil.copytree(scored_run, folder)
    return LocalStorage(folder)
