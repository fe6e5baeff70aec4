"""Frame and prompt encoders with pretrained weights, prepared as VBench prepares them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from videogen.errors import WeightsError
from videogen.evaluation.backends.folders import WEIGHTS, check_folder, digest, is_published
from videogen.evaluation.backends.raft import Raft, load_raft, pad
from videogen.models.pretrained import import_transformers, load_pretrained

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class FrameEncoder:
    """A loaded network that turns frames into unit vectors.

    Attributes:
        kind: "clip", "dinov2" or "dino".
        published: whether it is the network VBench publishes numbers with.
        sha256: of the weights.
    """

    kind: str
    model: Any
    tokenizer: Any
    side_px: int
    published: bool
    sha256: str
    device: torch.device

    @torch.inference_mode()
    def frame(self, frame: np.ndarray) -> Tensor:
        """A unit vector `[d]`, float32 on the CPU, of one frame uint8 `h w c`."""
        pixels = prepare(frame, self.kind, self.side_px).to(self.device)
        if self.kind == "clip":
            vector = self.model.visual_projection(self.model.vision_model(pixels).pooler_output)
        elif self.kind == "dino":
            tokens = self.model(pixels, interpolate_pos_encoding=True).last_hidden_state
            vector = tokens[:, 0]
        else:
            vector = self.model(pixels).last_hidden_state[:, 0]
        return functional.normalize(vector[0].float(), dim=0).cpu()

    @torch.inference_mode()
    def text(self, prompt: str) -> Tensor:
        """A unit vector `[d]` of a prompt; CLIP only. Long prompts are cut to what CLIP reads."""
        length = self.model.config.text_config.max_position_embeddings
        ids = self.tokenizer(prompt, truncation=True, max_length=length, return_tensors="pt")
        output = self.model.text_model(input_ids=ids["input_ids"].to(self.device))
        vector = self.model.text_projection(output.pooler_output)
        return functional.normalize(vector[0].float(), dim=0).cpu()


@dataclass(frozen=True)
class PublishedFlow:
    """RAFT, as VBench's dynamic degree asks it."""

    model: Raft
    sha256: str
    device: torch.device

    @torch.inference_mode()
    def top_speed(self, earlier: np.ndarray, later: np.ndarray, share: float) -> float:
        """Mean length in pixels of the longest `share` of flow vectors, the padding included."""
        flow = self.model(*(pad(_planes(f).to(self.device)) for f in (earlier, later)))
        lengths = flow[0].square().sum(dim=0).sqrt().flatten()
        return float(lengths.sort(descending=True).values[: int(lengths.numel() * share)].mean())


def load_flow(folder: str | Path, device: str = "cpu") -> PublishedFlow:
    """Load RAFT from a local folder.

    Raises:
        WeightsError: the folder lacks the file, or it holds another network.
    """
    path = Path(folder)
    check_folder("raft", path)
    where = torch.device(device)
    return PublishedFlow(load_raft(path, where), digest(path), where)


def load_encoder(kind: str, folder: str | Path, device: str = "cpu") -> FrameEncoder:
    """Load a network from a local folder in float32.

    Raises:
        ConfigError: no such kind.
        WeightsError: the folder is incomplete or holds something else; says what was expected.
        MissingDependencyError: transformers is not installed.
    """
    path = Path(folder)
    config = check_folder(kind, path)
    where = torch.device(device)
    family = WEIGHTS[kind].family
    assert family is not None, f"{kind} is not read through transformers"
    model = load_pretrained(family, path, torch.float32).to(where)
    return FrameEncoder(
        kind=kind,
        model=model,
        tokenizer=_load_tokenizer(path) if kind == "clip" else None,
        side_px=_side(kind, config),
        published=is_published(kind, config),
        sha256=digest(path),
        device=where,
    )


def _side(kind: str, config: dict[str, Any]) -> int:
    """CLIP and DINO read frames at the size they were trained at; DINOv2 at 224 like the others."""
    if kind == "dinov2":
        patch = int(config.get("patch_size", 14))
        return 224 // patch * patch
    return int((config.get("vision_config") or config).get("image_size", 224))


def _load_tokenizer(folder: Path) -> Any:
    tokenizer = import_transformers().CLIPTokenizer
    try:
        return tokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{folder}: the tokenizer cannot be read: {error}") from error


def _planes(frame: np.ndarray) -> Tensor:
    """uint8 `h w c` to float `1 c h w`, values unchanged."""
    return torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float()


def prepare(frame: np.ndarray, kind: str, side_px: int) -> Tensor:
    """Resize the shorter side without antialiasing, crop (not for DINO), normalise: `1 c h w`.

    As in VBench: CLIP bicubic and cropped to a square, DINO bilinear and whole. Values are rounded
    to bytes after resizing, as its image library does.
    """
    pixels = _planes(frame)
    height, width = pixels.shape[-2:]
    short = min(height, width)
    size = (int(side_px * height / short), int(side_px * width / short))
    mode = "bicubic" if kind == "clip" else "bilinear"
    pixels = functional.interpolate(pixels, size=size, mode=mode, align_corners=False)
    pixels = pixels.round().clamp(0, 255) / 255
    if kind != "dino":
        top, left = round((size[0] - side_px) / 2), round((size[1] - side_px) / 2)
        pixels = pixels[..., top : top + side_px, left : left + side_px]
    mean, std = (CLIP_MEAN, CLIP_STD) if kind == "clip" else (IMAGENET_MEAN, IMAGENET_STD)
    return (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
