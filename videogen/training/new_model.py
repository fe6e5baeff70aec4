"""A model of random weights, to be trained on clips that its VAE encodes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from videogen.errors import ConfigError
from videogen.models.dit import SpacetimeDiT
from videogen.models.presets import ModelPreset
from videogen.models.spec import LatentStatistics, ModelSpec
from videogen.models.text import WordEncoder
from videogen.models.vae import VideoVAE
from videogen.models.weights import VAE_SPEC_FILE, load_model, load_vae, save_model


def new_model(
    preset: ModelPreset, vae: str, folder: Path, text_encoder: str = "", seed: int = 0
) -> ModelSpec:
    """Write a model folder: a DiT and words of random weights, and a VAE that is trained.

    A word-level text encoder knows no word yet: those of the captions are added as it is trained.

    Args:
        vae: "default", a model folder or a VAE folder.
        text_encoder: the folder of a pretrained one, where the preset has such a one.

    Raises:
        ConfigError: the VAE does not fit the DiT, or a text encoder is missing or not wanted.
        WeightsError: there is no such VAE.
    """
    trained, latents = _read_vae(vae)
    if trained.config.latent_channels != preset.dit.in_channels:
        raise ConfigError(
            f"--vae: got {vae} with {trained.config.latent_channels} latent channels, expected "
            f"{preset.dit.in_channels}, the dit.in_channels of '{preset.name}'. "
            "Fix: change one of them."
        )
    text_config = preset.text
    if (text_config.kind == "words") == bool(text_encoder):
        raise ConfigError(
            f"--text-encoder: got '{text_encoder}', expected "
            f"{'none' if text_encoder else 'a folder'}, because text.kind of '{preset.name}' is "
            f"{text_config.kind}. Fix: {'leave it out' if text_encoder else 'give its folder'}."
        )
    if text_encoder:
        place = str(Path(text_encoder).expanduser().absolute())
        text_config = dataclasses.replace(text_config, path=place)
    spec = dataclasses.replace(preset.spec(), vae=trained.config, text=text_config, latents=latents)
    torch.manual_seed(seed)
    text = WordEncoder(text_config, ()) if text_config.kind == "words" else None
    return save_model(folder, spec, SpacetimeDiT(spec.dit), trained, text, torch.float32)


def _read_vae(name: str) -> tuple[VideoVAE, LatentStatistics]:
    folder = Path(name).expanduser()
    if (folder / VAE_SPEC_FILE).is_file():
        return load_vae(folder)
    model = load_model(name)
    return model.vae, model.spec.latents
