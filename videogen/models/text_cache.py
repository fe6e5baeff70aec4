"""Embeddings of prompts kept by what was encoded: in memory across clips, in a folder across runs.

An encoder of billions of weights costs seconds per prompt on a CPU, and every row of a manifest
has the same negative prompt. What is kept is what the encoder gave, bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from videogen.errors import StorageError, WeightsError
from videogen.models.text import PairEncoder, TextEmbedding, TextEncoder, encode_pair

PROMPTS_KEPT = 32
_FORMAT = 1


class CachedText:
    """A text encoder that remembers; implements `TextEncoder` and `PairEncoder`."""

    def __init__(
        self,
        encoder: TextEncoder,
        device: torch.device,
        *,
        folder: Path | None = None,
        digest: Callable[[], str] = str,
        capacity: int = PROMPTS_KEPT,
    ) -> None:
        """Put memory, and if wanted a folder, before an encoder.

        Args:
            device: where embeddings are handed out.
            folder: keeps embeddings across runs; made when first needed.
            digest: of the encoder's weights, vocabulary and dtype; asked with a folder only.
            capacity: prompts kept in memory, those used last.
        """
        self.encoder = encoder
        self.width, self.max_tokens = encoder.width, encoder.max_tokens
        self._device, self._folder, self._capacity = device, folder, capacity
        self._digest = "" if folder is None else digest()
        self._kept: OrderedDict[str, TextEmbedding] = OrderedDict()

    def encode(self, prompts: Sequence[str]) -> TextEmbedding:
        """Encode prompts, or remember them."""
        said = json.dumps(["prompts", *prompts])
        return self._found(said, lambda: (self.encoder.encode(prompts),))[0]

    def encode_pair(self, prompt: str, negative: str) -> tuple[TextEmbedding, TextEmbedding]:
        """Encode both prompts of guidance, or remember them."""
        if not isinstance(self.encoder, PairEncoder):
            return self.encode([prompt]), self.encode([negative])
        said = json.dumps(["pair", prompt, negative])
        first, second = self._found(said, lambda: encode_pair(self.encoder, prompt, negative))
        return first, second

    def _found(
        self, said: str, encode: Callable[[], tuple[TextEmbedding, ...]]
    ) -> tuple[TextEmbedding, ...]:
        keys = [f"{said}#{index}" for index in range(2 if said.startswith('["pair"') else 1)]
        if not all(key in self._kept for key in keys):
            stored = [self._load(key) for key in keys]
            whole = tuple(one for one in stored if one is not None)
            fresh = len(whole) < len(keys)
            for key, embedding in zip(keys, encode() if fresh else whole, strict=True):
                self._kept[key] = embedding
                if fresh:
                    self._save(key, embedding)
        for key in keys:
            self._kept.move_to_end(key)
        found = tuple(self._kept[key] for key in keys)
        while len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
        return found

    def _path(self, key: str) -> Path | None:
        if self._folder is None:
            return None
        text = json.dumps([_FORMAT, self._digest, self.max_tokens, key])
        name = hashlib.blake2b(text.encode(), digest_size=20).hexdigest()
        return self._folder / name[:2] / f"{name}.safetensors"

    def _load(self, key: str) -> TextEmbedding | None:
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                said = json.loads(file.metadata()["embedding"])
                kept = {name: file.get_tensor(name) for name in ("tokens", "mask", "pooled")}
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise WeightsError(
                f"{path}: not an embedding of a prompt ({error}). Fix: delete the file."
            ) from error
        tokens = F.pad(kept["tokens"], (0, 0, 0, int(said["padding"])))
        return TextEmbedding(
            tokens.to(self._device),
            kept["mask"].to(self._device),
            kept["pooled"].to(self._device),
            tuple(said["truncated"]),
        )

    def _save(self, key: str, embedding: TextEmbedding) -> None:
        path = self._path(key)
        if path is None:
            return
        padding = _zeros_at_end(embedding.tokens)
        length = embedding.tokens.shape[1] - padding
        said = json.dumps({"padding": padding, "truncated": list(embedding.truncated)})
        tensors = {
            "tokens": embedding.tokens[:, :length],
            "mask": embedding.mask,
            "pooled": embedding.pooled,
        }
        # Of ranks that encode the same prompt at once, each writes a file of its own.
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(
                {name: _stored(tensor) for name, tensor in tensors.items()},
                partial,
                metadata={"embedding": said},
            )
            partial.replace(path)
        except (OSError, SafetensorError) as error:
            raise StorageError(
                f"{path.parent}: an embedding cannot be written ({error}). "
                "Fix: give model.text_cache a folder with room, or leave it out."
            ) from error


def _stored(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone().contiguous()


def _zeros_at_end(tokens: Tensor) -> int:
    """How many tokens at the end of all prompts `b l d` are zeros."""
    used = (tokens != 0).any(-1).any(0).nonzero()
    return tokens.shape[1] - (int(used[-1]) + 1 if len(used) else 0)


def encoder_digest(files: Any, dtype: torch.dtype) -> str:
    """sha256 of an encoder's files (as `file_digests` gives them) and its dtype."""
    return hashlib.sha256(json.dumps([files, str(dtype)], sort_keys=True).encode()).hexdigest()
