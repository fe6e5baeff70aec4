"""What a run makes of a model: adapters, step caching, precision; torch-free.

All that changes pixels is part of the digest, so clips of different variants never pass for the
same.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from videogen.errors import ConfigError, WeightsError
from videogen.models.digests import file_sha256

LORA_NAMES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors", "lora.safetensors")
"""What diffusers, PEFT and this package call the file in a folder."""
Precision = Literal["float32", "bfloat16", "float16"]
Compile = Literal["blocks", "cuda_graphs"]
Part = Literal["text", "vae"]


@dataclass(frozen=True)
class Lora:
    """A file of low-rank adapters, and how strongly it acts."""

    path: Path
    scale: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Lora:
        """Read `PATH` or `PATH:scale`; a colon within a path stays where no number follows it."""
        path, colon, scale = text.rpartition(":")
        try:
            return cls(Path(path).expanduser(), float(scale)) if colon else cls(Path(text))
        except ValueError:
            return cls(Path(text).expanduser())


@dataclass(frozen=True)
class StepCache:
    """Work of earlier denoising steps that is used again; see `videogen.models.step_cache`."""

    kind: Literal["first_block", "pyramid"]
    threshold: float = 0.06
    """first_block: relative change of the first block's residual, summed over steps, up to which
    what all other blocks add is taken from the last step that computed it."""
    ranges: tuple[int, int, int] = (2, 4, 6)
    """pyramid: steps for which attention along space, along time, and to text is used again."""
    start: float = 0.1
    end: float = 1.0
    """Shares of the steps between which anything is used again."""

    def __post_init__(self) -> None:
        if self.kind not in ("first_block", "pyramid"):
            raise ConfigError(
                f"cache.kind: got '{self.kind}', expected first_block or pyramid. Fix: choose one."
            )
        if self.threshold < 0 or min(self.ranges) < 1 or not 0 <= self.start <= self.end <= 1:
            raise ConfigError(
                f"cache: got threshold {self.threshold}, ranges {self.ranges}, start {self.start}, "
                f"end {self.end}, expected a threshold of 0 or more, ranges of 1 or more, and "
                "0 <= start <= end <= 1. Fix: leave out what you do not know."
            )


@dataclass(frozen=True)
class Variant:
    """How a model differs in one run from what its folder says."""

    loras: tuple[Lora, ...] = ()
    cache: StepCache | None = None
    text_dtype: Precision | None = None
    vae_dtype: Precision | None = None
    """None leaves a component in the precision that it is loaded in."""

    def digest(self, base: str) -> str:
        """sha256 of all that decides what a model of digest `base` makes.

        Raises:
            WeightsError: a file of adapters is missing.
        """
        said: dict[str, Any] = {}
        if self.loras:
            said["loras"] = [
                [file_sha256(lora_weights(lora.path)), lora.scale] for lora in self.loras
            ]
        if self.cache is not None:
            cache = self.cache
            acts = cache.threshold if cache.kind == "first_block" else list(cache.ranges)
            said["cache"] = [cache.kind, acts, cache.start, cache.end]
        for name in ("text_dtype", "vae_dtype"):
            if getattr(self, name) is not None:
                said[name] = getattr(self, name)
        if not said:
            return base
        return hashlib.sha256(json.dumps([base, said], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Residence:
    """How a model is held and run; none of it changes what it makes but by rounding."""

    offload: tuple[Part, ...] = ()
    """Parts that live in the memory of the CPU and visit the device while they are used."""
    text_cache: Path | None = None
    """A folder that keeps embeddings of prompts from run to run."""
    compile: Compile | None = None
    """Compile the transformer's blocks; see `videogen.models.compiling`."""


AS_IT_IS = Variant()
AT_HOME = Residence()


def check_unaltered(
    model: str, variant: Variant = AS_IT_IS, residence: Residence = AT_HOME
) -> None:
    """Raise where a pipeline of diffusers is asked for what only models of this package can.

    Raises:
        ConfigError: names what was asked for.
    """
    asked = [
        f"model.{name}"
        for options, usual in ((variant, AS_IT_IS), (residence, AT_HOME))
        for name in type(options).__dataclass_fields__
        if getattr(options, name) != getattr(usual, name)
    ]
    if asked:
        raise ConfigError(
            f"{', '.join(asked)}: got a value for {model}, expected none, because diffusers runs "
            "that pipeline. Fix: leave it out, or use the folder of a Wan or Latte model."
        )


def lora_weights(path: Path) -> Path:
    """The safetensors file of adapters that a file or a folder is meant by.

    Raises:
        WeightsError: there is none.
    """
    path = path.expanduser()
    if path.is_dir():
        found = [path / name for name in LORA_NAMES if (path / name).is_file()]
        if len(found) == 1:
            return found[0]
        got = "no" if not found else "more than one"
        raise WeightsError(
            f"lora: got {got} file of adapters in '{path}', expected one of "
            f"{', '.join(LORA_NAMES)}. Fix: give the file itself."
        )
    if path.suffix != ".safetensors" or not path.is_file():
        raise WeightsError(
            f"lora: got '{path}', expected a .safetensors file that is there, because reading any "
            "other format can run code. Fix: check the path, or convert it where you trust it."
        )
    return path
