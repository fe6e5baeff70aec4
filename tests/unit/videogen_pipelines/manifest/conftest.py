"""Manifests written in a line, read with the defaults of a small model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from videogen.errors import InvalidRequestError
from videogen.requests import ClipRequest, SamplingDefaults
from videogen_pipelines.manifest import (
    InvalidRow,
    ManifestOptions,
    ManifestReport,
    iter_requests,
    validate_manifest,
)

DEFAULTS = SamplingDefaults(
    num_frames=17,
    height=64,
    width=64,
    fps=12.0,
    num_inference_steps=8,
    guidance_scale=3.0,
    sampler="euler",
)


def check(request: ClipRequest) -> None:
    """A model that makes 4n+1 frames."""
    if request.num_frames % 4 != 1:
        raise InvalidRequestError(
            f"num_frames: got {request.num_frames}, expected 4n+1, because the VAE compresses time "
            "by 4."
        )


class ManifestFile:
    """One manifest in a temporary folder, and both passes over it."""

    def __init__(self, path: Path, options: ManifestOptions) -> None:
        self.path, self.options = path, options

    def report(self, **arguments: Any) -> ManifestReport:
        return validate_manifest(self.path, DEFAULTS, check, self.options, **arguments)

    def errors(self) -> list[str]:
        """Messages without the path of the file."""
        return [str(error).removeprefix(f"{self.path}: ") for error in self.report().errors]

    def items(self, **arguments: Any) -> list[ClipRequest | InvalidRow]:
        arguments = {"bad_rows": "skip", **arguments}
        return list(iter_requests(self.path, DEFAULTS, check, self.options, **arguments))

    def requests(self) -> list[ClipRequest]:
        """All of a manifest that has no bad row."""
        items = self.items(bad_rows="fail")
        return [item for item in items if isinstance(item, ClipRequest)]


WriteManifest = Callable[..., ManifestFile]


@pytest.fixture
def manifest(tmp_path: Path) -> WriteManifest:
    """`manifest(name, content, **options)` writes a file and says how to read it."""

    def write(name: str, content: str | bytes, **options: Any) -> ManifestFile:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return ManifestFile(path, ManifestOptions(**options))

    return write
