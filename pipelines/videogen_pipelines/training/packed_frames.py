"""Frames of packed clips for a VAE: windows from anywhere in them, scaled and cropped at random."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from videogen.errors import ConfigError, MediaError
from videogen.media import iter_video, probe
from videogen.storage.temporary import temporary_folder
from videogen.training.clips import as_pixels
from videogen.training.config import VAETrainConfig
from videogen.training.vae_frames import VALIDATION_SEED
from videogen_pipelines.data.encode_workload import fitted

VIDEO, META = ".mp4", ".json"
HELD_OUT = 10
"""Validation takes at most one of so many clips."""


@dataclass(frozen=True)
class PackedClip:
    """Where a video lies in a shard, and how many frames it has."""

    shard: Path
    key: str
    offset: int
    num_bytes: int
    num_frames: int


class PackedFrames:
    """A `FrameSource` of the clips in `config.data` that are long enough.

    Raises:
        ConfigError: there are none, or a shard cannot be read.
    """

    def __init__(self, config: VAETrainConfig) -> None:
        self.config = config
        clips = [clip for clip in _index(Path(config.data)) if clip.num_frames >= config.num_frames]
        if not clips:
            raise ConfigError(
                f"data: got no clip of {config.num_frames} frames or more in {config.data}, "
                "expected some. Fix: pack longer ones, or lower num_frames."
            )
        order = np.random.default_rng(VALIDATION_SEED).permutation(len(clips))
        held_out = max(1, min(config.validation_clips, len(clips) // HELD_OUT))
        self.held_out = [clips[place] for place in order[:held_out]]
        self.clips = [clips[place] for place in order[held_out:]] or clips

    def training(self, step: int, places: range) -> Tensor:
        return torch.stack([self._drawn(step, place) for place in places])

    def validation(self) -> Tensor:
        size = self.config.size
        clips = [self._frames(clip, 0) for clip in self.held_out]
        return torch.stack([_stacked([fitted(f, size, size) for f in clip]) for clip in clips])

    def _drawn(self, step: int, place: int) -> Tensor:
        rng = np.random.default_rng([self.config.schedule.seed, step, place])
        clip = self.clips[int(rng.integers(len(self.clips)))]
        start = int(rng.integers(clip.num_frames - self.config.num_frames + 1))
        return _stacked(random_crop(self._frames(clip, start), self.config.size, rng))

    def _frames(self, clip: PackedClip, start: int) -> np.ndarray:
        """A window of a clip, uint8 `t h w c`."""
        count = self.config.num_frames
        with temporary_folder() as folder:
            path = _extracted(clip, folder)
            taken: list[np.ndarray] = []
            seen = 0
            for portion in iter_video(path):
                taken.append(portion[max(0, start - seen) : max(0, start + count - seen)])
                seen += len(portion)
                if seen >= start + count:
                    return np.concatenate(taken)
        raise MediaError(
            f"{clip.shard}: {clip.key}: got {seen} frames, expected {clip.num_frames} as its "
            "description says. Fix: pack it again."
        )


def random_crop(frames: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """A square of `size` px out of frames `t h w c`: from all of the shorter side to none of it.

    What is larger than the square is scaled by a random factor, so that it shows wholes and
    details; what is smaller is scaled up to it.
    """
    height, width = frames.shape[1:3]
    least = size / min(height, width)
    scale = least ** float(rng.random()) if least < 1 else least
    wide, high = max(size, round(width * scale)), max(size, round(height * scale))
    top, left = int(rng.integers(high - size + 1)), int(rng.integers(wide - size + 1))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    if (high, wide) != (height, width):
        frames = np.stack([cv2.resize(frame, (wide, high), interpolation=how) for frame in frames])
    return list(frames[:, top : top + size, left : left + size])


def _stacked(frames: list[np.ndarray]) -> Tensor:
    return as_pixels(np.stack(frames))


def _extracted(clip: PackedClip, folder: Path) -> Path:
    path = folder / f"clip{VIDEO}"
    with clip.shard.open("rb") as file:
        file.seek(clip.offset)
        path.write_bytes(file.read(clip.num_bytes))
    return path


def _index(folder: Path) -> Iterator[PackedClip]:
    shards = sorted(folder.rglob("*.tar"))
    if not shards:
        raise ConfigError(
            f"{folder}: got no .tar file, expected shards of clips. "
            "Fix: give the folder that 'videogen data pack' wrote."
        )
    for shard in shards:
        try:
            with tarfile.open(shard, "r:") as archive:
                yield from _clips(shard, archive)
        except (tarfile.TarError, ValueError, OSError) as error:
            raise ConfigError(
                f"{shard}: got a shard that cannot be read ({type(error).__name__}: {error}), "
                "expected videos and their descriptions. Fix: pack it again."
            ) from error


def _clips(shard: Path, archive: tarfile.TarFile) -> Iterator[PackedClip]:
    said: dict[str, Any] = {}
    videos: list[tarfile.TarInfo] = []
    for member in archive:
        if member.name.endswith(META):
            file = archive.extractfile(member)
            said[member.name.removesuffix(META)] = {} if file is None else json.load(file)
        elif member.name.endswith(VIDEO):
            videos.append(member)
    for member in videos:
        key = member.name.removesuffix(VIDEO)
        place = shard, key, member.offset_data, member.size
        count = said.get(key, {}).get("num_frames")
        yield PackedClip(*place, int(count) if count else _counted(PackedClip(*place, 0)))


def _counted(clip: PackedClip) -> int:
    """The frames of a video of which no description says it."""
    with temporary_folder() as folder:
        return probe(_extracted(clip, folder)).num_frames
