"""Seeds and noise that depend on what is asked for, never on where or in what order it runs.

Every latent frame draws from its own generator, keyed by (clip seed, purpose, frame index), so
the noise is the same on any rank, device, batch position or chunking.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

MAX_SEED = 2**63 - 1
T = TypeVar("T")


def _digest(*parts: object, size: int = 8) -> bytes:
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()


def seed_from_id(request_id: str) -> int:
    """The seed of a row that names none: a stable hash of its id, in [0, 2**63 - 1]."""
    return int.from_bytes(_digest("seed", request_id), "big") & MAX_SEED


def request_id_from_content(row: Mapping[str, Any], occurrence: int = 0) -> str:
    """The id of a row that names none: a stable hash of its content.

    Args:
        row: the row as written, before defaults are filled in.
        occurrence: how many identical rows came before; keeps exact repeats apart.
    """
    content = json.dumps(row, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)
    name = _digest("id", content, size=8).hex()
    return name if occurrence == 0 else f"{name}-{occurrence + 1}"


def shuffled(items: Sequence[T], seed: int, index: int) -> list[T]:
    """`items` in an order that depends on (seed of the clip, index) alone."""
    return [
        item
        for _, item in sorted(
            enumerate(items), key=lambda pair: _digest("shuffle", seed, index, pair[0])
        )
    ]


def frame_noise(
    seed: int,
    channels: int,
    height: int,
    width: int,
    first_frame: int,
    num_frames: int,
    purpose: str = "initial",
) -> torch.Tensor:
    """Standard normal noise of latent frames `first_frame` .. `first_frame + num_frames - 1`.

    Args:
        seed: seed of the clip.
        purpose: separates independent streams of one clip ("initial", "step-12", …).

    Returns:
        float32 CPU tensor `c t h w`; frame `i` is the same whatever range it is drawn in.
    """
    import torch  # here, so that reading a manifest costs no 200 MB

    frames = []
    for index in range(first_frame, first_frame + num_frames):
        key = int.from_bytes(_digest("noise", purpose, seed, index), "big") & MAX_SEED
        generator = torch.Generator("cpu").manual_seed(key)
        frames.append(torch.randn(channels, height, width, generator=generator))
    return torch.stack(frames, dim=1)
