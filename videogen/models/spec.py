"""`model.yaml`: what a model folder holds, read without touching its weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from videogen.config import load_dataclass, load_yaml, to_plain
from videogen.errors import InvalidRequestError, WeightsError
from videogen.models.config import DiTConfig, TextConfig, VAEConfig

SPEC_FILE = "model.yaml"
ASSETS = Path(__file__).parent.parent / "assets"
LORA_FILE = "lora.safetensors"
"""What the adapter in the folder of an adapted model is called."""
ORIGINAL_WAN = "Wan2.1_VAE.pth"
"""A file by which folders in Wan's original layout are known."""


@dataclass(frozen=True, kw_only=True)
class LatentStatistics:
    """Mean and standard deviation of each latent channel; the DiT sees normalised latents."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model: its parts, how it was trained, and the sampling it is best used with."""

    schema: Literal[1] = 1
    name: str
    prediction: Literal["flow", "epsilon", "v", "x0"] = "flow"
    dit: DiTConfig
    vae: VAEConfig
    text: TextConfig
    latents: LatentStatistics
    sampling: dict[str, Any] = field(default_factory=dict)
    """Recommended sampling defaults: any sampling field of a `ClipRequest`."""
    vocabulary: tuple[str, ...] = ()
    """Words of a `words` text encoder, in the order of its embedding."""
    files: dict[str, str] = field(default_factory=dict)
    """sha256 of every weight file."""

    @property
    def digest(self) -> str:
        """sha256 of the whole description, which holds the sha256 of every weight file."""
        plain = to_plain(self)
        if not self.dit.detail_depth:  # says nothing of a model without that stage
            del plain["dit"]["detail_depth"], plain["dit"]["detail_width"]
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def latent_shape(self, num_frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Shape `c t h w` of the latents of a clip; the last may hold frames beyond its end."""
        side = self.vae.space_factor
        return (
            self.vae.latent_channels,
            self.vae.latent_frames(num_frames),
            height // side,
            width // side,
        )

    def check_size(self, num_frames: int, height: int, width: int) -> None:
        """Raise unless the model can make clips of this size; any number of frames is fine.

        Raises:
            InvalidRequestError: names the field, why, and the nearest legal values.
        """
        patch = self.dit.patch
        for name, size, cells in (("height", height, patch[1]), ("width", width, patch[2])):
            self._check_side(name, size, self.vae.space_factor * cells)

    def _check_side(self, name: str, size_px: int, multiple: int) -> None:
        if size_px % multiple or size_px < multiple:
            below = max(multiple, size_px - size_px % multiple)
            raise InvalidRequestError(
                f"{name}: got {size_px}, expected a multiple of {multiple} "
                f"({below}, {below + multiple}), because the VAE compresses space by "
                f"{self.vae.space_factor} and the DiT takes patches of "
                f"{multiple // self.vae.space_factor}."
            )


@dataclass(frozen=True, kw_only=True)
class VAESpec:
    """`vae.yaml`: a VAE on its own, before a DiT is trained on its latents."""

    schema: Literal[1] = 1
    vae: VAEConfig
    latents: LatentStatistics
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AdaptedSpec:
    """A `model.yaml` beside an adapter: another model, its base, with that added to its DiT."""

    schema: Literal[1] = 1
    name: str
    base: str
    """"default", or a folder: a whole path, or one that starts from this folder."""
    sampling: dict[str, Any] = field(default_factory=dict)
    """Recommended sampling, where it is not that of the base."""
    files: dict[str, str] = field(default_factory=dict)
    """sha256 of the adapter, and of the files of the base that it was made for."""


def packaged_models() -> list[str]:
    """Names of the models whose weights ship with the package."""
    return sorted(path.parent.name for path in ASSETS.glob(f"*/{SPEC_FILE}"))


def resolve_model(name: str | Path) -> Path:
    """The folder of a model: `packaged_models` are in this package, others are paths.

    Raises:
        WeightsError: there is no such folder, or it holds no `model.yaml`.
    """
    packaged = ASSETS / str(name)
    is_name = str(name).replace("-", "").replace("_", "").isalnum()
    folder = packaged if is_name and packaged.is_dir() else Path(name).expanduser()
    if not (folder / SPEC_FILE).is_file():
        raise WeightsError(
            f"model: got '{name}', expected 'default', a folder with {SPEC_FILE} and safetensors "
            f"weights, or a published one with model_index.json. Fix: {_remedy(folder)}"
        )
    return folder


def _remedy(folder: Path) -> str:
    if (folder / ORIGINAL_WAN).is_file():
        return "turn this original layout of Wan into that: scripts/convert_wan_original.py."
    return "check the path; `videogen models` lists what ships with the package."


def read_spec(folder: Path) -> ModelSpec:
    """Read and check `model.yaml` of a model folder; an adapted model is described whole.

    Raises:
        WeightsError: the base of an adapted model is missing, or is not the one it was made for.
        ConfigError: a field is unknown, missing or of the wrong type.
    """
    path = folder / SPEC_FILE
    data = load_yaml(path)
    if "base" not in data:
        return load_dataclass(ModelSpec, data, str(path))
    return _on_its_base(load_dataclass(AdaptedSpec, data, str(path)), folder)


def weight_file(folder: Path, name: str) -> Path:
    """Where a weight file of a model folder is: an adapted model has all but its adapter elsewhere.

    Raises:
        WeightsError: its base is not there.
    """
    description = folder / SPEC_FILE
    if name == LORA_FILE or not description.is_file():
        return folder / name
    base = load_yaml(description).get("base")
    return (folder if base is None else _base_folder(str(base), folder)) / name


def _on_its_base(adapted: AdaptedSpec, folder: Path) -> ModelSpec:
    base = _base_folder(adapted.base, folder)
    data = load_yaml(base / SPEC_FILE)
    if "base" in data:
        raise WeightsError(
            f"{folder / SPEC_FILE}: base: got '{adapted.base}', which has a base itself, expected "
            "a whole model. Fix: adapt that one."
        )
    whole = load_dataclass(ModelSpec, data, str(base / SPEC_FILE))
    for name, expected in adapted.files.items():
        if name != LORA_FILE and whole.files.get(name) != expected:
            raise WeightsError(
                f"{folder / SPEC_FILE}: got an adapter for a model whose {name} has the sha256 "
                f"{expected}, expected that of '{adapted.base}', {whole.files.get(name)}. "
                "Fix: use the model that it was trained on, or train it again on this one."
            )
    return replace(
        whole,
        name=adapted.name,
        sampling=whole.sampling | adapted.sampling,
        files=whole.files | adapted.files,
    )


def _base_folder(base: str, folder: Path) -> Path:
    beside = folder / base
    return resolve_model(beside if (beside / SPEC_FILE).is_file() else base)
