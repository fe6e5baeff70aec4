"""The frozen CLIP image encoder, read through transformers from a local folder.

Pictures are prepared with Pillow as its `preprocessor_config.json` says, so torchvision is not
needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from videogen.errors import ConfigError
from videogen.models.descriptions import read_json
from videogen.models.pretrained import load_pretrained
from videogen.models.text_folders import Family, check_config, check_safetensors

VISION = Family(
    model="CLIPVisionModel",
    tokenizer="",
    tokenizer_files=(),
    model_types=("clip_vision_model", "clip"),
    width_field="hidden_size",
    other_halves=("text_model.", "visual_projection.", "text_projection.", "logit_scale"),
)


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes the input of an image encoder."""

    side_px: int
    """Of the square that is cut out of the middle."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, picture: np.ndarray) -> Tensor:
        """A picture, uint8 `h w c`, to `1 c side side`, float32."""
        image = Image.fromarray(picture)
        scale = self.side_px / min(image.size)
        # Rounded down, as the reference does.
        size = [self.side_px if s == min(image.size) else int(s * scale) for s in image.size]
        resized = image.resize((size[0], size[1]), Image.Resampling.BICUBIC)
        left, top = ((s - self.side_px) // 2 for s in resized.size)
        cut = resized.crop((left, top, left + self.side_px, top + self.side_px))
        pixels = torch.from_numpy(np.asarray(cut, dtype=np.float32).copy()) / 255
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        return ((pixels - mean) / std).permute(2, 0, 1)[None]


class CLIPImageEncoder(nn.Module):
    """A picture as the tokens of CLIP's last layer but one."""

    def __init__(self, model: Any, preparation: Preparation) -> None:
        super().__init__()
        self.model: Any = model.requires_grad_(False)
        self.preparation = preparation
        self.width = int(model.config.hidden_size)

    def train(self, mode: bool = True) -> CLIPImageEncoder:
        """Stay in evaluation mode: the encoder is frozen, dropout included."""
        return super().train(False)

    @torch.no_grad()
    def encode(self, picture: np.ndarray) -> Tensor:
        """Tokens `1 m d` of a picture, uint8 `h w c`."""
        parameter = next(self.model.parameters())
        pixels = self.preparation(picture).to(parameter.device, parameter.dtype)
        return self.model(pixel_values=pixels, output_hidden_states=True).hidden_states[-2]


def load_image_encoder(
    encoder: Path,
    preparation: Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> CLIPImageEncoder:
    """Read a CLIP image encoder and how pictures are prepared for it, from local folders.

    Args:
        encoder: folder with `config.json` and safetensors.
        preparation: folder with `preprocessor_config.json`.

    Raises:
        MissingDependencyError: transformers is not installed.
        ConfigError: pictures would have to be prepared in a way that is not supported.
        WeightsError: files are missing, of another architecture, incomplete, or pickles only.
    """
    check_config(encoder, "image encoder", VISION)
    check_safetensors(encoder)
    prepared = read_preparation(preparation / "preprocessor_config.json")
    model = load_pretrained(VISION, encoder, dtype).to(device)
    if prepared.side_px != model.config.image_size:
        raise ConfigError(
            f"{preparation}: crop_size: got {prepared.side_px}, expected "
            f"{model.config.image_size}, that of {encoder}. Fix: use both of one model."
        )
    return CLIPImageEncoder(model, prepared)


def read_preparation(path: Path) -> Preparation:
    """How CLIP's pictures are prepared, from `preprocessor_config.json`.

    Raises:
        ConfigError: a step is switched off, or the side resized to is not the side cut out.
    """
    said = read_json(path)
    steps = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
    left_out = [step for step in steps if said.get(step, True) is not True]
    size, crop = said.get("size", 224), said.get("crop_size", 224)
    shortest = size.get("shortest_edge") if isinstance(size, dict) else size
    sides = {shortest, *(crop.values() if isinstance(crop, dict) else [crop])}
    if left_out or len(sides) != 1 or said.get("resample", 3) != Image.Resampling.BICUBIC:
        raise ConfigError(
            f"{path}: got {', '.join(left_out) or 'sizes'} {size} and {crop}, expected a bicubic "
            "resize to one side and a square of it. Fix: use a CLIP image processor's file."
        )
    mean, std = (
        tuple(said.get(name, of)) for name, of in (("image_mean", MEAN), ("image_std", STD))
    )
    return Preparation(int(sides.pop()), mean, std)


MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
