"""What a rank does with one shard to be encoded: decode, fit, and run the VAE and text encoder."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from videogen.errors import (
    ConfigError,
    InvalidRequestError,
    MediaError,
    NonFiniteError,
    WeightsError,
)
from videogen.media import iter_video, probe
from videogen.models.protocol import ClipSpec
from videogen.storage import local_copy, open_storage
from videogen.storage.temporary import temporary_folder
from videogen_cluster.workload import Heartbeat, RankContext
from videogen_pipelines.data.shards import Sample, commit_shard, read_shard, to_json, write_shard
from videogen_pipelines.keep_alive import keep_alive
from videogen_pipelines.model_cache import local_model

LATENTS, TEXT = "latents.safetensors", "text.safetensors"
_MULTIPLES = range(1, 9)
_FEW_PX = 32
_ROUNDING = 1e-6


@dataclass(frozen=True)
class ClipShape:
    """What clips are brought to; None leaves it as it is, as far as the model allows.

    Of clips of more `fps` frames are left out; others stay as they are.
    """

    num_frames: int | None = None
    height: int | None = None
    width: int | None = None
    fps: float | None = None

    @classmethod
    def check(
        cls,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        fps: float | None = None,
    ) -> ClipShape:
        """From what people said.

        Raises:
            ConfigError: a height without a width, or the other way round; or no fps at all.
        """
        if (height is None) != (width is None):
            raise ConfigError(
                f"--height, --width: got {height} and {width}, expected both or neither."
            )
        if fps is not None and not fps > 0:
            raise ConfigError(f"--fps: got {fps}, expected more than 0.")
        return cls(num_frames, height, width, fps)


@dataclass(frozen=True)
class EncodingTask:
    """What is the same for all shards."""

    source_uri: str
    out_uri: str
    model: str
    model_digest: str
    device: str
    dtype: str
    shape: ClipShape


class EncodeWorkload:
    """Encodes shards; items hold `key`, `tar_key` and `index_key`."""

    def __init__(self, task: EncodingTask) -> None:
        self.task = task

    def setup(self, context: RankContext) -> None:
        """Load the model and open both storages.

        Raises:
            WeightsError: the model here is not the one that the coordinator knows.
        """
        import torch

        from videogen.loading import load_generator

        torch.set_num_threads(context.num_threads)
        task = self.task
        device = context.device if task.device == "auto" else task.device
        generator = load_generator(local_model(task.model), device, task.dtype)
        self._model, self._device = generator.model, generator.device
        if generator.spec.digest != task.model_digest:
            raise WeightsError(
                f"{task.model}: got digest {generator.spec.digest[:12]} on this machine, expected "
                f"{task.model_digest[:12]}. Fix: put the same model on every machine."
            )
        self._source, self._out = open_storage(task.source_uri), open_storage(task.out_uri)

    def compute(
        self, item: Mapping[str, Any], heartbeat: Heartbeat
    ) -> Callable[[], dict[str, Any]]:
        """Encode a shard into a file; the rest stores it.

        Raises:
            MediaError: the shard is damaged. A clip in it that is, is left out by name.
            StorageError: it cannot be fetched.
        """
        skipped: dict[str, str] = {}
        with ExitStack() as stack:
            folder = stack.enter_context(temporary_folder())
            target = folder / "encoded.tar"
            with ExitStack() as fetched:
                with keep_alive(lambda: heartbeat("fetch", 0, 1)):
                    path = fetched.enter_context(local_copy(self._source, item["key"]))
                keys = write_shard(target, self._encoded(path, folder, skipped, heartbeat))
            waiting = stack.pop_all()  # the file is needed until it is stored

        def store() -> dict[str, Any]:
            with waiting, keep_alive(lambda: heartbeat("store", 0, 1)):
                places = item["tar_key"], item["index_key"]
                commit_shard(self._out, *places, target, keys, skipped)
            return {"id": item["id"], "clips": len(keys)}

        return store

    def _encoded(
        self, path: Path, folder: Path, skipped: dict[str, str], heartbeat: Heartbeat
    ) -> Iterator[tuple[str, Sample]]:
        for done, (key, sample) in enumerate(read_shard(path)):
            heartbeat("encode", done, done + 1)
            try:
                yield key, self._sample(key, sample, folder / "clip.mp4")
            except (MediaError, NonFiniteError, ValueError) as error:  # of its JSON or its size
                skipped[key] = str(error)

    def _sample(self, key: str, sample: Mapping[str, bytes], path: Path) -> Sample:
        if PurePosixPath(key).is_absolute() or ".." in PurePosixPath(key).parts:
            raise MediaError(f"{key}: got a name that leads out of a folder, expected none such.")
        if "mp4" not in sample:
            raise MediaError(f"{key}: got {', '.join(sample)}, expected a member {key}.mp4.")
        path.write_bytes(sample["mp4"])
        said = json.loads(sample.get("json", b"{}"))
        if not isinstance(said, dict):
            raise MediaError(f"{key}.json: got {type(said).__name__}, expected an object.")
        caption = said.get("caption")
        if not isinstance(caption, str):
            caption = sample.get("txt", b"").decode().strip()
        frames, fps = self._fitted(key, path)
        return {
            "json": to_json(
                {
                    **said,
                    "caption": caption,
                    "num_frames": len(frames),
                    "height": frames.shape[1],
                    "width": frames.shape[2],
                    **fps,
                }
            ),
            LATENTS: self._latents(key, frames),
            TEXT: self._text(caption),
        }

    def _fitted(self, key: str, path: Path) -> tuple[np.ndarray, dict[str, float]]:
        """Frames uint8 `t h w c` of a size and number that the model takes; fps where it is new."""
        info, shape, spec = probe(path), self.task.shape, self._model.spec
        step = max(1.0, info.fps / shape.fps) if shape.fps else 1.0
        there = int((info.num_frames - 1) / step + _ROUNDING) + 1
        count = fitting_frames(spec, min(there, shape.num_frames or there))
        size = fitting_size(spec, count, shape.height or info.height, shape.width or info.width)
        frames = [fitted(frame, *size) for frame in _every(path, step, count)]
        if len(frames) < count:
            raise MediaError(f"{key}: got {len(frames)} frames, expected {count}.")
        return np.stack(frames), {"fps": round(info.fps / step, 3)} if step > 1 else {}

    def _latents(self, key: str, frames: np.ndarray) -> bytes:
        """Normalised latents `c t h w`, float16."""
        import torch
        from einops import rearrange
        from safetensors.torch import save

        with torch.inference_mode():
            pixels = rearrange(torch.from_numpy(frames), "t h w c -> 1 c t h w")
            latents = self._model.vae.encode(pixels.to(self._device).float() / 127.5 - 1)
            latents = self._model.normalise(latents)[0].float().cpu()
        if not bool(torch.isfinite(latents).all()):
            raise NonFiniteError(f"{key}: got latents that are not finite, expected numbers.")
        return save({"latents": latents.half().contiguous()})

    def _text(self, caption: str) -> bytes:
        """What the text encoder makes of a caption: `tokens` `l d`, `mask` `l`, `pooled` `d`."""
        import torch
        from safetensors.torch import save

        with torch.inference_mode():
            said = self._model.text.encode([caption])
        named = {"tokens": said.tokens, "pooled": said.pooled}
        tensors = {name: value[0].half().cpu().contiguous() for name, value in named.items()}
        return save({**tensors, "mask": said.mask[0].cpu().contiguous()})


def _every(path: Path, step: float, count: int) -> Iterator[np.ndarray]:
    """So many frames of a video from its start, `step` or more apart; fewer where it ends."""
    first = done = 0
    for portion in iter_video(path):
        while done < count and (place := int(done * step + 0.5) - first) < len(portion):
            yield portion[place]
            done += 1
        first += len(portion)
        if done == count:
            return


def fitting_frames(spec: ClipSpec, num_frames: int) -> int:
    """The most frames, `num_frames` at most, that fill whole latent frames."""
    latents = spec.vae.latent_frames(num_frames)
    return spec.vae.frames(latents if spec.vae.frames(latents) <= num_frames else latents - 1)


def fitting_size(spec: ClipSpec, num_frames: int, height: int, width: int) -> tuple[int, int]:
    """The largest size within this one that the model makes clips of.

    Raises:
        InvalidRequestError: there is none.
    """
    for cells in _MULTIPLES:
        side = spec.vae.space_factor * cells
        size = height - height % side, width - width % side
        with contextlib.suppress(InvalidRequestError):
            spec.check_size(num_frames, *size)
            return size
    spec.check_size(num_frames, height, width)
    return height, width


def fitted(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """A frame `h w c` scaled until it covers the size, then cropped around its middle."""
    import cv2

    scale = max(height / frame.shape[0], width / frame.shape[1])
    if scale != 1 and not _is_crop(frame, height, width):
        size = max(width, round(frame.shape[1] * scale)), max(height, round(frame.shape[0] * scale))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        frame = cv2.resize(frame, size, interpolation=how)
    top, left = (frame.shape[0] - height) // 2, (frame.shape[1] - width) // 2
    return frame[top : top + height, left : left + width]


def _is_crop(frame: np.ndarray, height: int, width: int) -> bool:
    """Whether so few pixels are too many that the edge is cut and nothing is blurred."""
    surplus = frame.shape[0] - height, frame.shape[1] - width
    return all(0 <= pixels < _FEW_PX for pixels in surplus)
