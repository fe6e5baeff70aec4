"""Which latents a model reads: a digest of what encodes them, and of what normalises them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import safe_open

from videogen.config import to_plain
from videogen.models.digests import file_digests
from videogen.models.published import is_published, read_published_spec
from videogen.models.spec import read_spec, resolve_model, weight_file
from videogen.models.weights import TEXT_FILE, VAE_FILE

_OF_THE_DECODER = ("decoder.", "post_quant_conv.")
_OF_THE_TEXT = ("text_encoder/", "tokenizer/")


def latents_digest(model: str | Path) -> str:
    """sha256 of the encoder of a model's VAE, and of how its latents are normalised.

    Models read the same latents if they differ in transformer, text encoder or decoder alone.

    Args:
        model: a name or a folder.

    Raises:
        WeightsError: there is no such model.
        ConfigError: its description is wrong.
    """
    said, files = _vae_of(model)
    digest = hashlib.sha256(json.dumps(to_plain(said), sort_keys=True).encode())
    for path in files:
        for name, values in _encoder(path):
            digest.update(name.encode())
            digest.update(values)
    return digest.hexdigest()


def text_digest(model: str | Path) -> str:
    """sha256 of a model's text encoder; see `latents_digest` for arguments and errors."""
    folder = Path(model).expanduser()
    said: list[Any] = []
    if is_published(folder):
        digests = file_digests(folder)
        said = [item for item in digests.items() if item[0].startswith(_OF_THE_TEXT)]
    else:
        folder = resolve_model(model)
        spec = read_spec(folder)
        said = [to_plain(spec.text) | {"path": ""}, list(spec.vocabulary)]
        is_own = spec.text.kind == "words"
        where = weight_file(folder, spec.text.path)
        said.append(spec.files.get(TEXT_FILE) if is_own else file_digests(where))
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _vae_of(model: str | Path) -> tuple[Any, list[Path]]:
    """What is said of the latents, and the files of the VAE."""
    folder = Path(model).expanduser()
    if is_published(folder):
        spec = read_published_spec(folder)
        vae = folder / getattr(spec, "vae_folder", "vae")
        return spec.vae, sorted(vae.glob("*.safetensors"))
    folder = resolve_model(model)
    return read_spec(folder).latents, [weight_file(folder, VAE_FILE)]


def _encoder(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name, shape and values in float16, which is what a fine-tuned model keeps of them."""
    with safe_open(path, "pt") as file:
        for name in sorted(file.keys()):
            if not name.startswith(_OF_THE_DECODER):
                tensor = file.get_tensor(name).half()
                yield f"{name}{list(tensor.shape)}", tensor.numpy().tobytes()
