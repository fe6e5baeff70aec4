"""Shards of encoded clips, as `videogen data encode` writes them, from rendered scenes."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import torch
from safetensors.torch import save

from videogen.models.weights import Model
from videogen.shapes.captions import canonical_caption
from videogen.training.clips import numbered_scene, render_batch


@torch.no_grad()
def write_encoded(
    folder: Path, model: Model, sizes: dict[int, int], size: int = 32, fps: float = 12.0
) -> Path:
    """Two shards of rendered clips; `sizes` says how many clips there are of so many frames."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for num_frames, count in sizes.items():
        scenes = [numbered_scene(3, index, ("narrow",)) for index in range(count)]
        latents = model.normalise(model.vae.encode(render_batch(scenes, num_frames, size)))
        clips += [(canonical_caption(s), x) for s, x in zip(scenes, latents, strict=True)]
    for shard in range(2):
        with tarfile.open(folder / f"clips-{shard:06}.tar", "w") as archive:
            for number, (caption, latents) in enumerate(clips[shard::2]):
                key = f"{shard}-{number:06}"
                data = save({"latents": latents.half().contiguous()})
                _add(archive, f"{key}.json", json.dumps({"caption": caption, "fps": fps}).encode())
                _add(archive, f"{key}.latents.safetensors", data)
    return folder


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))
