"""A loaded model made what a run wants of it: adapters merged, steps cached, parts offloaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from videogen.errors import ConfigError
from videogen.models.digests import file_digests
from videogen.models.lora import merge_lora
from videogen.models.step_cache import install_step_cache
from videogen.models.text import TextEncoder, WordEncoder
from videogen.models.text_cache import CachedText, encoder_digest
from videogen.models.text_folders import find_folders
from videogen.models.variant import Residence, Variant
from videogen.models.visits import visiting


def alter(
    model: Any, variant: Variant, residence: Residence, device: torch.device, folder: Path
) -> Any:
    """A model (a dataclass with `dit`, `vae` and `text`) as a run wants it; its parts are altered.

    Args:
        folder: where it was loaded from.

    Raises:
        WeightsError: an adapter does not fit.
        ConfigError: a way of caching steps that the model has no use for.
    """
    for lora in variant.loras:
        merge_lora(model.dit, lora)
    if variant.cache is not None:
        _check_compile(residence)
        install_step_cache(model.dit, variant.cache)
    if variant.vae_dtype is not None:
        model.vae.to(getattr(torch, variant.vae_dtype))
    return replace(model, text=_text(model.text, residence, device, folder))


def _text(
    encoder: TextEncoder, residence: Residence, device: torch.device, folder: Path
) -> TextEncoder:
    if isinstance(encoder, WordEncoder):
        return encoder  # takes no time and no memory
    assert isinstance(encoder, nn.Module), "what reads prompts here are modules"
    dtype = next(encoder.parameters()).dtype
    visitor = visiting(encoder, device) if "text" in residence.offload else encoder

    def digest() -> str:
        files = [file_digests(part) for part in find_folders(folder)]
        return encoder_digest([*files, type(encoder).__name__], dtype)

    return CachedText(visitor, device, folder=residence.text_cache, digest=digest)


def _check_compile(residence: Residence) -> None:
    if residence.compile == "cuda_graphs":
        raise ConfigError(
            "model.compile: got cuda_graphs together with step caching, expected one of them, "
            "because graphs overwrite what a cache keeps. Fix: use compile: blocks."
        )


def check_text_dtype(variant: Variant) -> None:
    """Raise where a precision is chosen for a text encoder that is part of its transformer.

    Raises:
        ConfigError: it is.
    """
    if variant.text_dtype is not None:
        raise ConfigError(
            f"model.text_dtype: got {variant.text_dtype}, expected null, because only published "
            "models have a text encoder of their own precision. Fix: leave it out."
        )
