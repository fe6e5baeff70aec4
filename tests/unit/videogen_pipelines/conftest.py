"""Clips that need no codec: JSON files which say what a video file would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from videogen.clip_ids import clip_id
from videogen.defaults import SAMPLER_VERSION
from videogen.errors import MediaError
from videogen.requests import ClipRequest
from videogen.storage import LocalStorage
from videogen_pipelines.commit import ClipFile
from videogen_pipelines.sidecar import ModelStamp, Provenance, Timings

MODEL = ModelStamp(name="tiny", digest="d" * 64)


class FakeClips:
    """Makes requests, their provenance and their files, and inspects the files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inspected: list[Path] = []

    def request(self, name: str = "a", **fields: Any) -> ClipRequest:
        settings: dict[str, Any] = {
            "id": name,
            "prompt": f"prompt of {name}",
            "seed": 7,
            "num_frames": 5,
            "height": 16,
            "width": 24,
            "fps": 8.0,
            "num_inference_steps": 4,
            "guidance_scale": 3.0,
            "sampler": "euler",
        }
        return ClipRequest(**{**settings, **fields})

    def provenance(
        self, name: str = "a", model: ModelStamp = MODEL, attempts: int = 1, **fields: Any
    ) -> Provenance:
        request = self.request(name, **fields)
        return Provenance(
            request=request,
            clip_id=clip_id(request, model.digest, SAMPLER_VERSION),
            model=model,
            sampler_version=SAMPLER_VERSION,
            attempts=attempts,
            timings=Timings(denoise_s=2.0, decode_s=0.5, encode_s=0.25),
            node="node-1",
            versions={"videogen": "0", "torch": "0"},
        )

    def content(self, provenance: Provenance, noise: str = "") -> bytes:
        metadata = provenance.container_metadata()
        clip = {"metadata": metadata, "frames": provenance.request.num_frames, "noise": noise}
        return json.dumps(clip).encode()

    def file(self, provenance: Provenance, noise: str = "") -> Path:
        path = self.folder / f"{provenance.request.id}.mp4"
        path.write_bytes(self.content(provenance, noise))
        return path

    def inspect(self, path: Path, request: ClipRequest) -> ClipFile:
        self.inspected.append(path)
        try:
            clip = json.loads(path.read_bytes())
        except ValueError as error:
            raise MediaError(f"{path}: got bytes that are no clip") from error
        if clip["frames"] != request.num_frames:
            raise MediaError(f"{path}: got {clip['frames']} frames")
        metadata = clip["metadata"]
        return ClipFile(metadata.get("clip_id"), clip["frames"], clip["frames"] / 8, "h264")


@pytest.fixture
def clips(tmp_path: Path) -> FakeClips:
    folder = tmp_path / "encoded"
    folder.mkdir()
    return FakeClips(folder)


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "out")
