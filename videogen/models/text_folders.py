"""What a folder of a pretrained text encoder must hold, checked before anything is loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from videogen.errors import WeightsError
from videogen.registry import Registry

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True)
class Family:
    """How one kind of encoder is called in transformers and what its checkpoints may also hold."""

    model: str
    tokenizer: str
    tokenizer_files: tuple[str, ...]
    model_types: tuple[str, ...]
    width_field: str
    other_halves: tuple[str, ...]
    """Prefixes of weights that a whole checkpoint has and its text encoder does not need."""
    length_field: str | None = None
    """The field that caps the prompt's length; None where positions are relative."""
    tokens_at_ends: int = 1
    """Tokens that the tokenizer adds to every prompt."""


_T5_FILES = ("tokenizer.json", "spiece.model")
_DECODER = ("decoder.", "lm_head.")
FAMILIES: Registry[Family] = Registry(
    "text.kind",
    {
        "clip": Family(
            model="CLIPTextModel",
            tokenizer="CLIPTokenizer",
            tokenizer_files=("tokenizer.json", "vocab.json"),
            model_types=("clip", "clip_text_model"),
            width_field="hidden_size",
            other_halves=("vision_model.", "visual_projection.", "text_projection.", "logit_scale"),
            length_field="max_position_embeddings",
            tokens_at_ends=2,
        ),
        "t5": Family("T5EncoderModel", "T5Tokenizer", _T5_FILES, ("t5",), "d_model", _DECODER),
        "umt5": Family(
            "UMT5EncoderModel", "T5Tokenizer", _T5_FILES, ("umt5",), "d_model", _DECODER
        ),
    },
)


def find_folders(root: Path) -> tuple[Path, Path]:
    """Where the weights and the tokenizer are, in either layout."""
    if not root.is_dir():
        raise WeightsError(
            f"text encoder: got '{root}', expected a local folder. Fix: download the checkpoint "
            "yourself and give its folder; nothing is fetched from a hub."
        )
    encoder = root / "text_encoder" if (root / "text_encoder").is_dir() else root
    beside = (encoder / "tokenizer", root / "tokenizer", root.parent / "tokenizer")
    tokenizer = next((folder for folder in beside if folder.is_dir()), encoder)
    return encoder, tokenizer


def check_config(folder: Path, kind: str, family: Family) -> None:
    path = folder / "config.json"
    try:
        got = json.loads(path.read_text(encoding="utf-8")).get("model_type")
    except OSError as error:
        raise WeightsError(
            f"{path}: cannot be read ({error.strerror}), expected a transformers checkpoint. "
            "Fix: give the folder that holds config.json, or the one above text_encoder/."
        ) from error
    except (ValueError, AttributeError) as error:
        raise WeightsError(f"{path}: not a JSON mapping: {error}. Fix: copy it again.") from error
    if got not in family.model_types:
        raise WeightsError(
            f"{path}: model_type: got '{got}', expected '{family.model_types[0]}' for text.kind "
            f"'{kind}'. Fix: set text.kind to the folder's type, or give another folder."
        )


def check_safetensors(folder: Path) -> None:
    """Refuse folders without safetensors, and indices that lead to any other file."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        _check_index(index)
        return
    if (folder / "model.safetensors").is_file():
        return
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        raise WeightsError(
            f"{folder}: got {', '.join(pickles)}, expected model.safetensors, because reading a "
            "pickle can run code. Fix: convert it where you trust it: transformers' "
            "from_pretrained, then save_pretrained writes safetensors."
        )
    raise WeightsError(f"{folder}: got no model.safetensors. Fix: download the weights again.")


def _check_index(index: Path) -> None:
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise WeightsError(f"{index}: not a weight index: {error}. Fix: copy it again.") from error
    for name in sorted(shards):
        if not name.endswith(".safetensors") or Path(name).name != name:
            raise WeightsError(f"{index}: got shard '{name}', expected *.safetensors beside it.")
        if not (index.parent / name).is_file():
            raise WeightsError(f"{index.parent / name}: missing. Fix: download this shard again.")


def check_tokenizer_files(folder: Path, family: Family) -> None:
    if not any((folder / name).is_file() for name in family.tokenizer_files):
        raise WeightsError(
            f"{folder}: got no tokenizer, expected {' or '.join(family.tokenizer_files)}. "
            "Fix: copy the checkpoint's tokenizer files there."
        )
