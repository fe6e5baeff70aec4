"""Files of low-rank adapters: safetensors, with what PEFT and diffusers say of them beside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from videogen.errors import ConfigError, WeightsError
from videogen.models.descriptions import read_json
from videogen.models.variant import lora_weights

_METADATA = "lora_adapter_metadata"
"""Where diffusers keeps PEFT's configuration in the header of a file."""
_OF_TRANSFORMER = "transformer."


@dataclass(frozen=True)
class Scaling:
    """How the configuration of adapters scales them; keys of adapters' own alphas come first."""

    default: float | None = None
    patterns: Mapping[str, float] = field(default_factory=dict)
    by_root: bool = False
    """Divide alpha by the root of the rank (rsLoRA, 2312.03732)."""

    def alpha(self, layer: str) -> float | None:
        """What the adapters of a layer are multiplied by, times their rank; None: as they are."""
        for pattern, alpha in self.patterns.items():
            if layer == pattern or layer.endswith(f".{pattern}"):
                return alpha
        return self.default


@dataclass(frozen=True)
class LoraFile:
    """The content of one file."""

    path: Path
    tensors: Mapping[str, Tensor]
    scaling: Scaling


def read_lora_file(path: Path) -> LoraFile:
    """Read a file of adapters, or the one in a folder.

    Raises:
        WeightsError: it is missing or no safetensors.
        ConfigError: its configuration names a kind of adapter that cannot be added to weights.
    """
    file = lora_weights(path)
    try:
        with safe_open(file, framework="pt") as weights:
            said = (weights.metadata() or {}).get(_METADATA)
            tensors = {key: weights.get_tensor(key) for key in weights.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{file}: cannot be read as safetensors ({error}). Fix: copy or download it again."
        ) from error
    beside = file.with_name("adapter_config.json")
    if said is not None:
        return LoraFile(file, tensors, _scaling(_parsed(file, said), str(file)))
    config = read_json(beside) if beside.is_file() else {}
    return LoraFile(file, tensors, _scaling(config, str(beside)))


def _parsed(file: Path, said: str) -> dict[str, Any]:
    try:
        config = json.loads(said)
        items = config.items()
    except (ValueError, AttributeError) as error:
        raise WeightsError(
            f"{file}: {_METADATA}: got no JSON mapping ({error}). Fix: save the adapter again."
        ) from error
    return {key.removeprefix(_OF_TRANSFORMER): value for key, value in items}


def _scaling(config: Mapping[str, Any], source: str) -> Scaling:
    for name in ("use_dora", "lora_bias"):
        if config.get(name):
            raise ConfigError(
                f"{source}: {name}: got true, expected false, because that is more than a product "
                "added to a weight. Fix: merge it with the tool that trained it."
            )
    alpha, patterns = config.get("lora_alpha"), config.get("alpha_pattern") or {}
    return Scaling(
        default=None if alpha is None else float(alpha),
        patterns={str(name): float(value) for name, value in patterns.items()},
        by_root=bool(config.get("use_rslora")),
    )
