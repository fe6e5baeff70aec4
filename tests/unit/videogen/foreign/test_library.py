"""The one module that imports diffusers: what it refuses, with diffusers and without."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from videogen.errors import ConfigError, MissingDependencyError
from videogen.foreign.folder import Component, PipelineFolder
from videogen.foreign.library import import_diffusers, pipeline_class


def folder(pipeline: str, library: str = "diffusers") -> PipelineFolder:
    part = Component(library, "UNet2DConditionModel", Path("/models/a/unet"))
    return PipelineFolder(Path("/models/a"), pipeline, {"unet": part}, ())


def test_without_diffusers_what_to_install_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'diffusers"):
        import_diffusers()


def test_only_pipelines_and_parts_of_known_libraries_are_run():
    pytest.importorskip("diffusers")
    assert pipeline_class(folder("StableDiffusionPipeline")).__name__ == "StableDiffusionPipeline"
    with pytest.raises(ConfigError, match="Did you mean 'StableDiffusionPipeline'"):
        pipeline_class(folder("StableDifusionPipeline"))
    with pytest.raises(ConfigError, match="got 'AutoencoderKL', expected a pipeline"):
        pipeline_class(folder("AutoencoderKL"))
    with pytest.raises(ConfigError, match="needs no other one"):
        pipeline_class(folder("KandinskyCombinedPipeline"))
    with pytest.raises(ConfigError, match="unet: got a class of 'os'"):
        pipeline_class(folder("StableDiffusionPipeline", "os"))
