"""Published models by what their folder says it is; descriptions are read without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from videogen.errors import ConfigError
from videogen.models.descriptions import read_json
from videogen.models.latte.spec import DECODERS, LatteSpec, read_latte_spec
from videogen.models.latte.spec import PIPELINES as LATTE_PIPELINES
from videogen.models.spec import ModelSpec
from videogen.models.wan.spec import WanSpec, read_wan_spec
from videogen.registry import Registry, did_you_mean

if TYPE_CHECKING:
    import torch

    from videogen.models.latte.folder import LatteModel
    from videogen.models.wan.folder import WanModel

INDEX = "model_index.json"
PublishedModel: TypeAlias = Union["WanModel", "LatteModel"]
KnownSpec: TypeAlias = WanSpec | LatteSpec
AnySpec: TypeAlias = ModelSpec | KnownSpec
"""The description of a model of whichever kind."""
READERS: Registry[Callable[[Path], KnownSpec]] = Registry(
    "pipeline",
    {
        "WanPipeline": read_wan_spec,
        "WanImageToVideoPipeline": read_wan_spec,
        "LattePipeline": read_latte_spec,
    },
)


def is_published(folder: Path) -> bool:
    """Whether a folder is in the diffusers layout, whatever pipeline it holds."""
    return (folder / INDEX).is_file()


def read_published_spec(folder: Path, decoder: str | None = None) -> KnownSpec:
    """Read and check the description of a folder in the diffusers layout.

    Args:
        decoder: the folder of the VAE to decode with, of models that have two; None is the first.

    Raises:
        WeightsError: a description is missing.
        ConfigError: another pipeline, or a setting that is unknown or not supported.
    """
    path = folder / INDEX
    name: Any = read_json(path).get("_class_name")
    if name not in READERS:
        raise ConfigError(
            f"{path}: _class_name: got '{name}', {did_you_mean(str(name), READERS.names())} "
            "Fix: give the folder of one of these."
        )
    if decoder is None:
        return READERS[name](folder)
    if name not in LATTE_PIPELINES:
        raise ConfigError(
            f"model.decoder: got '{decoder}', expected null, because a {name} has one VAE. "
            "Fix: leave it out."
        )
    if decoder not in DECODERS:
        raise ConfigError(
            f"model.decoder: got '{decoder}', {did_you_mean(decoder, list(DECODERS))} "
            "Fix: name one of these."
        )
    return read_latte_spec(folder, decoder)


def load_published(
    folder: Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    dit_device: str | torch.device | None = None,
    decoder: str | None = None,
    text_dtype: torch.dtype | None = None,
) -> PublishedModel:
    """Load a folder in the diffusers layout.

    Args:
        dtype: of what may be in half precision; None is float32.
        dit_device: where the transformer is loaded to, if elsewhere.
        decoder: see `read_published_spec`.
        text_dtype: of the text encoder, if another one.

    Raises:
        WeightsError: a file is missing, truncated, a pickle, or its keys or shapes do not fit.
        ConfigError: see `read_published_spec`.
    """
    import torch

    from videogen.models.latte.folder import load_latte
    from videogen.models.published_parts import check_published
    from videogen.models.wan.folder import load_wan

    spec = read_published_spec(folder, decoder)
    check_published(spec)
    what = dtype or torch.float32
    apart: dict[str, Any] = {"dit_device": dit_device, "text_dtype": text_dtype}
    if isinstance(spec, LatteSpec):
        return load_latte(folder, device, what, spec.vae_folder, **apart)
    return load_wan(folder, device, what, **apart)
