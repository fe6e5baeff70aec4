"""Codecs are really tried, and a missing one matters only if the run wants it."""

from __future__ import annotations

import numpy as np
import pytest

from videogen.errors import MissingDependencyError
from videogen.media import codecs
from videogen_pipelines.config import OutputSection
from videogen_pipelines.doctor import media
from videogen_pipelines.doctor.media import CODECS, check_codec, check_decord, check_libraries


def test_every_codec_of_the_configuration_is_tried():
    assert set(CODECS) == set(codecs.CODECS)
    assert OutputSection().codec in CODECS


@pytest.mark.parametrize("name", ["h264", "vp9"])
def test_a_codec_encodes_and_decodes(name: str):
    finding = check_codec(name, "h264")
    assert finding.status == "ok"
    assert "3 frames" in finding.found


def test_a_codec_that_changes_the_picture_is_found_out(monkeypatch):
    monkeypatch.setattr("videogen.media.read_video", lambda *_, **__: (black(), 8.0), raising=False)
    finding = check_codec("h264", "h264")
    assert finding.status == "failed"


def black() -> np.ndarray:
    return np.zeros_like(media.sample_frames())


def test_a_missing_codec_is_skipped_unless_the_run_wants_it(monkeypatch):
    monkeypatch.setattr(codecs, "_is_built_in", lambda encoder: encoder == "libx264")
    finding = check_codec("av1", "h264")
    assert finding.status == "skipped"
    assert "libsvtav1" in finding.found and "h264" not in finding.found
    assert "pip install" in finding.fix
    with pytest.raises(MissingDependencyError):
        check_codec("av1", "av1")


def test_the_libraries_are_named():
    found = check_libraries().found
    assert "PyAV" in found and "FFmpeg" in found and "libavcodec" in found


def test_decord_is_optional(monkeypatch):
    def absent() -> None:
        raise MissingDependencyError("decord: got nothing. Fix: pip install decord.")

    monkeypatch.setattr("videogen.media.decord_reader.load_decord", absent)
    finding = check_decord()
    assert finding.status == "skipped" and "pip install" in finding.fix
