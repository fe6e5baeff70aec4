"""Folders of text-video encoders: `text_video.yaml` beside a safetensors file with its sha256."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

from videogen.config import to_plain
from videogen.models.digests import file_sha256
from videogen.models.meta import on_meta
from videogen.models.text_video import TextVideoEncoder
from videogen.models.text_video_spec import (
    SHIPPED,
    SPEC_FILE,
    TextVideoSpec,
    read_text_video_spec,
)
from videogen.models.weights import check_files, load_weights

WEIGHTS_FILE = "text_video.safetensors"


def load_text_video(
    folder: Path = SHIPPED, device: str | torch.device = "cpu"
) -> tuple[TextVideoEncoder, TextVideoSpec]:
    """Load an encoder in float32, after its files were checked against their sha256.

    Raises:
        ConfigError: the description is wrong.
        WeightsError: the weights are missing, altered, or do not fit the description.
    """
    spec = read_text_video_spec(folder)
    check_files(folder, {WEIGHTS_FILE: "", **spec.files})
    with on_meta():
        encoder = TextVideoEncoder(spec.encoder, spec.vocabulary)
    load_weights(encoder, folder / WEIGHTS_FILE, device, torch.float32)
    return encoder.eval(), spec


def save_text_video(
    folder: Path,
    encoder: TextVideoEncoder,
    name: str,
    trained_on: dict[str, Any] | None = None,
) -> TextVideoSpec:
    """Write weights in half precision, then the description with their sha256."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {k: v.detach().cpu().half().contiguous() for k, v in encoder.state_dict().items()}
    partial = folder / f"{WEIGHTS_FILE}.partial"
    save_file(weights, partial)
    partial.replace(folder / WEIGHTS_FILE)
    spec = TextVideoSpec(
        name=name,
        encoder=encoder.config,
        trained_on=trained_on or {},
        vocabulary=encoder.text.vocabulary,
        files={WEIGHTS_FILE: file_sha256(folder / WEIGHTS_FILE)},
    )
    text = yaml.safe_dump(to_plain(spec), sort_keys=False, width=100)
    partial = folder / f"{SPEC_FILE}.partial"
    partial.write_text(text, encoding="utf-8")
    partial.replace(folder / SPEC_FILE)
    return spec
