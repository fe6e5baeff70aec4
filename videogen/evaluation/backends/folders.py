"""Which weights each optional metric needs, and whether a folder has them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videogen.errors import WeightsError
from videogen.models.text_folders import Family, check_safetensors
from videogen.registry import Registry


@dataclass(frozen=True)
class Weights:
    """One kind of weights folder.

    Attributes:
        about: the checkpoint it means.
        family: how transformers calls it; None for a network of our own code.
        files: what the folder has to hold; alternatives are separated by "|".
        published: configuration values that make it the network VBench publishes numbers with.
    """

    about: str
    family: Family | None
    files: tuple[str, ...]
    published: Mapping[str, Any]


_MODEL_FILES = ("config.json", "model.safetensors|model.safetensors.index.json")
WEIGHTS: Registry[Weights] = Registry(
    "weights",
    {
        "clip": Weights(
            about="CLIP ViT-B/32 (openai/clip-vit-base-patch32) or another CLIP",
            family=Family("CLIPModel", "CLIPTokenizer", (), ("clip",), "projection_dim", ()),
            files=(*_MODEL_FILES, "tokenizer.json|vocab.json"),
            published={"hidden_size": 768, "num_hidden_layers": 12, "patch_size": 32},
        ),
        "dinov2": Weights(
            about="DINOv2 (facebook/dinov2-base, any size)",
            family=Family("Dinov2Model", "", (), ("dinov2",), "hidden_size", ()),
            files=_MODEL_FILES,
            published={},
        ),
        "dino": Weights(
            about="DINO ViT-B/16 (facebook/dino-vitb16)",
            family=Family("ViTModel", "", (), ("vit",), "hidden_size", ("pooler.",)),
            files=_MODEL_FILES,
            published={"hidden_size": 768, "num_hidden_layers": 12, "patch_size": 16},
        ),
        "raft": Weights(
            about="RAFT (raft-things.pth of the authors' release, converted to safetensors)",
            family=None,
            files=("raft-things.safetensors",),
            published={},
        ),
        "text-video": Weights(
            about="a text-video encoder of 'videogen train contrastive', not the shipped one",
            family=None,
            files=("text_video.yaml", "text_video.safetensors"),
            published={},
        ),
    },
)


def wanted(kind: str) -> str:
    """What to give for a kind of weights, in words."""
    return f"a folder with {', '.join(WEIGHTS[kind].files)} of {WEIGHTS[kind].about}"


def check_folder(kind: str, folder: Path) -> dict[str, Any]:
    """The configuration of a folder that holds everything its kind needs.

    Raises:
        ConfigError: no such kind of weights.
        WeightsError: a file is missing, or the folder holds another architecture.
    """
    weights = WEIGHTS[kind]
    missing = [f for f in weights.files if not _any_of(folder, f)]
    if not folder.is_dir() or missing == list(weights.files):
        raise WeightsError(
            f"weights.{kind}: got '{folder}', expected {wanted(kind)}. "
            "Fix: download it yourself and give its path; nothing is fetched from a hub."
        )
    if weights.family is None:
        return {}
    if missing:
        check_safetensors(folder)
        raise WeightsError(
            f"weights.{kind}: '{folder}' has no {' and no '.join(missing)}. "
            f"Fix: give {wanted(kind)}."
        )
    config = _read_config(folder / "config.json")
    if config.get("model_type") not in weights.family.model_types:
        raise WeightsError(
            f"{folder / 'config.json'}: model_type: got '{config.get('model_type')}', expected "
            f"'{weights.family.model_types[0]}' for weights.{kind}. Fix: give {wanted(kind)}."
        )
    return config


def is_published(kind: str, config: Mapping[str, Any]) -> bool:
    """Whether a configuration has the size of the network that VBench uses."""
    vision = config.get("vision_config") or config
    return all(vision.get(key) == value for key, value in WEIGHTS[kind].published.items())


def digest(folder: Path) -> str:
    """SHA-256 over the names and contents of the folder's safetensors, in order of name."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        total.update(path.name.encode())
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _any_of(folder: Path, alternatives: str) -> bool:
    return any((folder / name).is_file() for name in alternatives.split("|"))


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: not readable JSON: {error}. Fix: copy it again.") from error
    if not isinstance(config, dict):
        raise WeightsError(f"{path}: got {type(config).__name__}, expected a JSON mapping.")
    return config
