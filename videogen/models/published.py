"""Published models by what their folder says it is; descriptions are read without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from videogen.errors import ConfigError
from videogen.models.descriptions import read_json
from videogen.models.latte.spec import LatteSpec, read_latte_spec
from videogen.models.published_spec import PublishedSpec
from videogen.models.wan.spec import read_wan_spec
from videogen.registry import Registry, did_you_mean

if TYPE_CHECKING:
    import torch

    from videogen.models.latte.folder import LatteModel
    from videogen.models.wan.folder import WanModel

INDEX = "model_index.json"
PublishedModel: TypeAlias = Union["WanModel", "LatteModel"]
READERS: Registry[Callable[[Path], PublishedSpec]] = Registry(
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


def read_published_spec(folder: Path) -> PublishedSpec:
    """Read and check the description of a folder in the diffusers layout.

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
    return READERS[name](folder)


def load_published(
    folder: Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    dit_device: str | torch.device | None = None,
) -> PublishedModel:
    """Load a folder in the diffusers layout.

    Args:
        dtype: of what may be in half precision; None is float32.
        dit_device: where the transformer is loaded to, if elsewhere.

    Raises:
        WeightsError: a file is missing, truncated, a pickle, or its keys or shapes do not fit.
        ConfigError: see `read_published_spec`.
    """
    import torch

    from videogen.models.latte.folder import load_latte
    from videogen.models.wan.folder import load_wan

    is_latte = isinstance(read_published_spec(folder), LatteSpec)
    return (load_latte if is_latte else load_wan)(
        folder, device, dtype or torch.float32, dit_device=dit_device
    )
