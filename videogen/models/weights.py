"""Model folders: `model.yaml` beside safetensors files whose sha256 it holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from videogen.config import load_dataclass, load_yaml, to_plain
from videogen.errors import WeightsError
from videogen.models.digests import file_sha256
from videogen.models.dit import SpacetimeDiT
from videogen.models.latents import channel_statistics
from videogen.models.lora import merge_lora
from videogen.models.meta import on_meta
from videogen.models.misfits import misfits
from videogen.models.spec import (
    LORA_FILE,
    SPEC_FILE,
    AdaptedSpec,
    LatentStatistics,
    ModelSpec,
    VAESpec,
    read_spec,
    resolve_model,
    weight_file,
)
from videogen.models.text import TextEncoder, WordEncoder
from videogen.models.vae import VideoVAE
from videogen.models.variant import Lora

VAE_SPEC_FILE = "vae.yaml"
DIT_FILE, VAE_FILE, TEXT_FILE = "dit.safetensors", "vae.safetensors", "text.safetensors"


@dataclass(frozen=True)
class Model:
    """A loaded model: modules in evaluation mode on one device."""

    spec: ModelSpec
    dit: SpacetimeDiT
    vae: VideoVAE
    text: TextEncoder

    def denormalise(self, latents: Tensor) -> Tensor:
        """Latents `b c t h w` as the DiT sees them, to latents as the VAE decodes them."""
        mean, std = _statistics(latents, self.spec.latents)
        return latents * std + mean

    def normalise(self, latents: Tensor) -> Tensor:
        """The inverse of `denormalise`."""
        return normalise_latents(latents, self.spec.latents)


def normalise_latents(latents: Tensor, statistics: LatentStatistics) -> Tensor:
    """VAE latents `b c t h w` to zero mean and unit variance per channel."""
    mean, std = _statistics(latents, statistics)
    return (latents - mean) / std


def _statistics(latents: Tensor, statistics: LatentStatistics) -> tuple[Tensor, Tensor]:
    return channel_statistics(latents, statistics.mean, statistics.std)


def load_model(
    name: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    dit_device: str | torch.device | None = None,
) -> Model:
    """Load a model folder; every file is checked against its sha256 before it is read.

    Args:
        name: one of `packaged_models` or a folder.
        dtype: of the DiT and the text encoder; the VAE stays in float32.
        dit_device: of the DiT, if another one.

    Raises:
        WeightsError: a file is missing, altered, truncated, or its keys or shapes do not fit.
        ConfigError: `model.yaml` is wrong.
    """
    folder = resolve_model(name)
    spec = read_spec(folder)
    check_files(folder, spec.files)
    with on_meta():
        dit, vae = SpacetimeDiT(spec.dit), VideoVAE(spec.vae)
    load_weights(dit, weight_file(folder, DIT_FILE), dit_device or device, dtype)
    load_weights(vae, weight_file(folder, VAE_FILE), device, torch.float32)
    if LORA_FILE in spec.files:
        merge_lora(dit, Lora(folder / LORA_FILE))
    text = _load_text(folder, spec, device, dtype)
    return Model(spec=spec, dit=dit.eval(), vae=vae.eval(), text=text)


def load_vae(folder: Path) -> tuple[VideoVAE, LatentStatistics]:
    """Load a VAE folder as `videogen train vae` writes it, with its latent statistics.

    Raises:
        WeightsError: the folder or a file is missing or altered.
        ConfigError: `vae.yaml` is wrong.
    """
    path = folder / VAE_SPEC_FILE
    spec = load_dataclass(VAESpec, load_yaml(path), str(path))
    check_files(folder, spec.files)
    with on_meta():
        vae = VideoVAE(spec.vae)
    load_weights(vae, folder / VAE_FILE, "cpu", torch.float32)
    return vae.eval(), spec.latents


def read_vae_weights(folder: Path) -> tuple[dict[str, Tensor], LatentStatistics]:
    """The bare weights and latent statistics of a VAE folder, to start another VAE from.

    Raises:
        WeightsError: the folder or a file is missing or altered.
    """
    path = folder / VAE_SPEC_FILE
    spec = load_dataclass(VAESpec, load_yaml(path), str(path))
    check_files(folder, spec.files)
    return load_file(folder / VAE_FILE), spec.latents


def save_vae(folder: Path, vae: VideoVAE, statistics: LatentStatistics) -> None:
    """Write a VAE folder: weights, then `vae.yaml` with their sha256."""
    files = _save_modules(folder, {VAE_FILE: vae}, torch.float32)
    _save_yaml(folder / VAE_SPEC_FILE, VAESpec(vae=vae.config, latents=statistics, files=files))


def _load_text(
    folder: Path, spec: ModelSpec, device: str | torch.device, dtype: torch.dtype
) -> TextEncoder:
    if spec.text.kind == "words":
        with on_meta():
            text = WordEncoder(spec.text, spec.vocabulary)
        load_weights(text, weight_file(folder, TEXT_FILE), device, dtype)
        return text.eval()
    from videogen.models.text_transformers import load_text_encoder

    path = weight_file(folder, spec.text.path)
    return load_text_encoder(spec.text, path, device, dtype)


def load_weights(
    module: nn.Module, path: Path, device: str | torch.device, dtype: torch.dtype
) -> None:
    """Fill `module` (on the meta device) from a safetensors file, strictly.

    Raises:
        WeightsError: the file cannot be read; or lists keys missing, unexpected, of other shape.
    """
    try:
        tensors = load_file(path, device=str(device))
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{path}: cannot be read as safetensors ({error}). Fix: copy or download it again."
        ) from error
    problems = misfits(_shapes(module.state_dict()), _shapes(tensors))
    if problems:
        raise WeightsError(
            f"{path}: does not fit {SPEC_FILE}: {'; '.join(problems)}. "
            "Fix: use the weights and the description of one model."
        )
    converted = {key: value.to(dtype) for key, value in tensors.items()}
    module.load_state_dict(converted, assign=True)
    module.requires_grad_(False)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: tensor.shape for key, tensor in tensors.items()}


def check_files(folder: Path, files: Mapping[str, str]) -> None:
    """Raise unless every weight file is there and is the one whose sha256 is in `files`.

    Raises:
        WeightsError: names the file, the sha256 found and the one expected.
    """
    for name, expected in files.items():
        path = weight_file(folder, name)
        if Path(name).name != name or not path.is_file():
            raise WeightsError(
                f"{path}: missing, expected a weight file that the model description names. "
                "Fix: copy or download the model folder again."
            )
        found = file_sha256(path)
        if found != expected:
            raise WeightsError(
                f"{path}: got sha256 {found}, expected {expected}; the file is damaged or was "
                "replaced. Fix: copy or download the model folder again."
            )


def save_model(
    folder: Path,
    spec: ModelSpec,
    dit: nn.Module,
    vae: nn.Module,
    text: nn.Module | None,
    dtype: torch.dtype = torch.float16,
) -> ModelSpec:
    """Write a model folder; `model.yaml` comes last, with the sha256 of every file.

    Args:
        text: None where the text encoder is a pretrained folder of its own.
        dtype: storage type of floating-point weights.

    Returns:
        `spec` with `files` filled in.
    """
    modules = {DIT_FILE: dit, VAE_FILE: vae, TEXT_FILE: text}
    files = _save_modules(folder, {k: v for k, v in modules.items() if v is not None}, dtype)
    spec = dataclasses.replace(spec, files=files)
    _save_yaml(folder / SPEC_FILE, spec)
    return spec


def _save_modules(
    folder: Path, modules: Mapping[str, nn.Module], dtype: torch.dtype
) -> dict[str, str]:
    """Write each module as safetensors; returns the sha256 of every file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, module in modules.items():
        weights = {k: v.detach().cpu().to(dtype) for k, v in module.state_dict().items()}
        partial = folder / f"{name}.partial"
        save_file({k: v.contiguous() for k, v in weights.items()}, partial)
        partial.chmod(0o644)  # safetensors from 0.8 on lets nobody else read what it writes
        partial.replace(folder / name)
    return {name: file_sha256(folder / name) for name in modules}


def describe_adapted(
    folder: Path, name: str, base: str, made_for: ModelSpec, sampling: dict[str, Any]
) -> None:
    """Write the `model.yaml` of an adapter that is in `folder` as `lora.safetensors`.

    Args:
        base: "default" or a folder, as `AdaptedSpec.base`.
        made_for: the description of what is, or will be, there.
        sampling: recommended, where it is not that of the base.
    """
    files = {LORA_FILE: file_sha256(folder / LORA_FILE)}
    files |= {key: made_for.files[key] for key in (DIT_FILE, TEXT_FILE) if key in made_for.files}
    adapted = AdaptedSpec(name=name, base=base, sampling=sampling, files=files)
    _save_yaml(folder / SPEC_FILE, adapted)


def _save_yaml(path: Path, description: ModelSpec | VAESpec | AdaptedSpec) -> None:
    partial = path.with_name(f"{path.name}.partial")
    text = yaml.safe_dump(to_plain(description), sort_keys=False, width=100)
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
