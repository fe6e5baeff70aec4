"""Scratch files live beside the clips but are no part of the output."""

from __future__ import annotations

from pathlib import Path

from videogen.storage import LocalStorage
from videogen_pipelines.scratch import clean_scratch, scratch_folder


def test_scratch_is_invisible_to_the_output_and_goes_away(tmp_path: Path):
    storage = LocalStorage(tmp_path / "out")
    folder = scratch_folder(storage)
    (folder / "a.mp4").write_bytes(b"x")
    assert folder == scratch_folder(storage)
    assert list(storage.list()) == []
    clean_scratch(storage)
    assert list((tmp_path / "out").iterdir()) == []
    clean_scratch(storage)
