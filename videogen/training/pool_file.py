"""Files of clips that a run keeps for when it goes on: of use to the same configuration alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

_MADE_BY = "made_by"


def write_pool(path: Path, tensors: dict[str, Tensor], made_by: str) -> None:
    """Write tensors, whole or not at all, with a digest of what decides them."""
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, {_MADE_BY: made_by})
    partial.replace(path)


def read_pool(path: Path, made_by: str) -> dict[str, Tensor]:
    """What `write_pool` wrote; nothing where there is no file, or one of something else."""
    if not path.exists():
        return {}
    with safe_open(path, "pt") as file:
        if (file.metadata() or {}).get(_MADE_BY) != made_by:
            return {}
    return load_file(path)


def digest_of(*what: object) -> str:
    """32 hex digits over values that are written the same whenever they are equal."""
    return hashlib.blake2b(repr(what).encode(), digest_size=16).hexdigest()


def digest_of_weights(module: nn.Module) -> str:
    """32 hex digits over the names, types and values of a module's weights."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
