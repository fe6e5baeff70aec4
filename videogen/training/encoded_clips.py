"""Encoded clips in WebDataset shards: latents and captions, read at random.

A clip is two members of a tar file: `KEY.latents.safetensors` with the normalised tensor `latents`,
`c t h w`, and `KEY.json` with its `caption`. Members are indexed once, then read where they lie.
"""

from __future__ import annotations

import json
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from videogen.errors import ConfigError

LATENTS_SUFFIX, META_SUFFIX = ".latents.safetensors", ".json"
ENCODE_FILE = "encode.json"
"""What clips were encoded with, beside the shards."""


@dataclass(frozen=True)
class EncodedClip:
    """Where the latents of a clip lie, and what it shows."""

    shard: Path
    offset: int
    num_bytes: int
    shape: tuple[int, ...]
    """`c t h w`."""
    caption: str
    fps: float = 0.0
    """0 where it is not known."""


class EncodedClips:
    """All clips of a folder of shards, in the order of their names.

    Raises:
        ConfigError: there are none, or a shard cannot be read; names the shard and the member.
    """

    def __init__(self, folder: str | Path) -> None:
        self.clips = [clip for path in _shards(Path(folder)) for clip in _index(path)]
        if not self.clips:
            raise ConfigError(
                f"{folder}: got shards without encoded clips, expected members KEY"
                f"{LATENTS_SUFFIX}. Fix: run 'videogen data encode' on packed clips."
            )
        self.buckets: dict[tuple[int, ...], list[int]] = defaultdict(list)
        """Indices of the clips of each shape."""
        for index, clip in enumerate(self.clips):
            self.buckets[clip.shape].append(index)

    def __len__(self) -> int:
        return len(self.clips)

    def latents(self, indices: Sequence[int]) -> Tensor:
        """Normalised latents `b c t h w`, float32, of clips of one shape."""
        return torch.stack([_read(self.clips[index]) for index in indices])

    def captions(self, indices: Sequence[int]) -> list[str]:
        return [self.clips[index].caption for index in indices]


def encoded_with(folder: Path) -> dict[str, Any]:
    """What is said of how clips were encoded: `model`, `vae_digest`, and more; {} where nothing is.

    Raises:
        ConfigError: it is damaged.
    """
    roots = [folder, folder.parent] if folder.name == "shards" else [folder]
    path = next((root / ENCODE_FILE for root in roots if (root / ENCODE_FILE).is_file()), None)
    if path is None:
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{path}: got {error}, expected what 'videogen data encode' wrote. Fix: copy it again."
        ) from error


def _shards(folder: Path) -> list[Path]:
    shards = sorted(folder.rglob("*.tar"))
    if not shards:
        raise ConfigError(
            f"{folder}: got no .tar file, expected shards of encoded clips. "
            "Fix: give the folder that 'videogen data encode' wrote."
        )
    return shards


def _index(path: Path) -> Iterator[EncodedClip]:
    said: dict[str, tuple[str, float]] = {}
    found: list[tuple[str, tarfile.TarInfo]] = []
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.name.endswith(LATENTS_SUFFIX):
                    found.append((member.name.removesuffix(LATENTS_SUFFIX), member))
                elif member.name.endswith(META_SUFFIX):
                    said[member.name.removesuffix(META_SUFFIX)] = _said(archive, member)
        for key, member in found:
            caption, fps = said[key]
            yield EncodedClip(
                shard=path,
                offset=member.offset_data,
                num_bytes=member.size,
                shape=_shape(path, member),
                caption=caption,
                fps=fps,
            )
    except (tarfile.TarError, KeyError, ValueError, OSError) as error:
        raise ConfigError(
            f"{path}: got a shard that cannot be read ({type(error).__name__}: {error}), expected "
            "latents and a caption of every clip. Fix: encode this shard again."
        ) from error


def _said(archive: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[str, float]:
    """Caption and fps."""
    file = archive.extractfile(member)
    if file is None:
        return "", 0.0
    said = json.load(file)
    fps = said.get("fps")
    return str(said["caption"]), float(fps) if isinstance(fps, int | float) else 0.0


def _shape(path: Path, member: tarfile.TarInfo) -> tuple[int, ...]:
    """From the header of the safetensors file: 8 bytes of length, then JSON."""
    with path.open("rb") as file:
        file.seek(member.offset_data)
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return tuple(header["latents"]["shape"])


def _read(clip: EncodedClip) -> Tensor:
    with clip.shard.open("rb") as file:
        file.seek(clip.offset)
        data = file.read(clip.num_bytes)
    try:
        return load(data)["latents"].float()
    except SafetensorError as error:
        raise ConfigError(
            f"{clip.shard}: got damaged latents at byte {clip.offset} ({error}), expected "
            "safetensors. Fix: encode this shard again."
        ) from error
