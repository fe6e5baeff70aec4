"""Published models by what their folder says it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from videogen.errors import ConfigError
from videogen.models.folders import read_json
from videogen.models.latte.folder import LatteModel, load_latte, read_latte_spec
from videogen.models.published_spec import PublishedSpec
from videogen.models.wan.folder import WanModel, load_wan, read_wan_spec
from videogen.registry import Registry, did_you_mean

INDEX = "model_index.json"
PublishedModel = WanModel | LatteModel


@dataclass(frozen=True)
class Kind:
    """How folders of one kind are read."""

    read: Callable[[Path], PublishedSpec]
    load: Callable[..., PublishedModel]


KINDS: Registry[Kind] = Registry(
    "pipeline",
    {
        "WanPipeline": Kind(read_wan_spec, load_wan),
        "WanImageToVideoPipeline": Kind(read_wan_spec, load_wan),
        "LattePipeline": Kind(read_latte_spec, load_latte),
    },
)


def is_published(folder: Path) -> bool:
    """Whether a folder is in the diffusers layout, whatever pipeline it holds."""
    return (folder / INDEX).is_file()


def read_published_spec(folder: Path) -> PublishedSpec:
    """Read and check the description of a folder in the diffusers layout.

    Raises:
        WeightsError: a description is missing.
        ConfigError: another pipeline, or a setting that is unknown or not supported.
    """
    return _kind(folder).read(folder)


def load_published(
    folder: Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> PublishedModel:
    """Load a folder in the diffusers layout.

    Raises:
        WeightsError: a file is missing, truncated, a pickle, or its keys or shapes do not fit.
        ConfigError: see `read_published_spec`.
    """
    return _kind(folder).load(folder, device, dtype)


def _kind(folder: Path) -> Kind:
    path = folder / INDEX
    name: Any = read_json(path).get("_class_name")
    if name not in KINDS:
        raise ConfigError(
            f"{path}: _class_name: got '{name}', {did_you_mean(str(name), KINDS.names())} "
            "Fix: give the folder of one of these."
        )
    return KINDS[name]
