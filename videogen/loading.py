"""From a model's name to a generator on a device, with every choice checked first."""

from __future__ import annotations

from pathlib import Path

import torch

from videogen.errors import ConfigError
from videogen.foreign.address import is_foreign
from videogen.foreign.generator import load_foreign
from videogen.generator import VideoGenerator
from videogen.models.alter import alter, check_text_dtype
from videogen.models.attention import check_backend
from videogen.models.published import is_published, load_published
from videogen.models.variant import AS_IT_IS, AT_HOME, Residence, Variant, check_unaltered
from videogen.models.weights import load_model


def load_generator(
    model: str | Path = "default",
    device: str = "auto",
    dtype: str = "auto",
    attention: str | None = None,
    *,
    dit_device: str | None = None,
    decoder: str | None = None,
    cpu_offload: bool = False,
    vae_tiling: bool = False,
    variant: Variant = AS_IT_IS,
    residence: Residence = AT_HOME,
) -> VideoGenerator:
    """Load a model folder and get it ready to generate.

    Args:
        model: "default", a model folder, the folder of a published model in the diffusers
            layout, or "diffusers:/folder" for any pipeline that diffusers runs.
        device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1", …
        dtype: "auto" (bfloat16 on CUDA, else float32), "float32", "bfloat16" or "float16".
        attention: attention backend; None is "sdpa".
        dit_device: where the DiT is loaded to, if elsewhere: "cpu" for weights to be divided.
        decoder: of published models with several, the folder of the one to decode with.
        cpu_offload, vae_tiling: of pipelines of diffusers, see `Cascade.load`.
        variant: adapters, step caching, and the precision of other parts than the DiT.
        residence: what visits the device, what is kept from run to run, what is compiled.

    Raises:
        WeightsError: the folder is missing, incomplete or altered.
        ConfigError: unknown device, dtype or attention backend.
        MissingDependencyError: the attention backend or diffusers is not installed.
    """
    where = _device(device)
    what = _dtype(dtype, where)
    if is_foreign(model):
        check_unaltered(str(model), variant, residence)
        options = {"cpu_offload": cpu_offload, "vae_tiling": vae_tiling}
        return load_foreign(str(model), where, what, attention=attention, **options)
    if cpu_offload or vae_tiling:
        name = "cpu_offload" if cpu_offload else "vae_tiling"
        raise ConfigError(
            f"model.{name}: got true for {model}, expected false, because only pipelines of "
            "diffusers have it. Fix: leave it out; cluster.gang.weights=offloaded keeps weights in "
            "the CPU's memory."
        )
    backend = attention or "sdpa"
    check_backend(backend, where, what)
    folder = Path(model).expanduser()
    if is_published(folder):
        reads = None if variant.text_dtype is None else getattr(torch, variant.text_dtype)
        loaded = load_published(folder, where, what, dit_device, decoder, reads)
    else:
        check_text_dtype(variant)
        loaded = load_model(model, where, what, dit_device)
    loaded.dit.set_attention_backend(backend)
    altered = alter(loaded, variant, residence, where, folder)
    return VideoGenerator(altered, where, variant, residence)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device: got '{name}', expected auto, cpu or cuda[:n].") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"device: got '{name}', but torch finds no CUDA device. Fix: use cpu or auto."
        )
    return device


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise ConfigError(f"dtype: got '{name}', expected one of auto, {', '.join(known)}.")
    return known[name]
