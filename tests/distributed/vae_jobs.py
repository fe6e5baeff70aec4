"""What ranks are asked to do with a VAE; imported by their processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

import videogen
from tests.distributed.memory import peak_above_start
from tests.distributed.pool import Rank
from tests.unit.videogen.parallel.small_vaes import VAES, noise
from videogen.models.config import VAEConfig
from videogen.models.vae import VideoVAE, to_bytes
from videogen.parallel.apply import parallelize_generator
from videogen.parallel.mesh import Mesh
from videogen.parallel.vae import ShardedVAE, parallelize_vae
from videogen.parallel.vae_tiles import tile_vae

Shape = tuple[int, int, int]
"""Of latents, t h w."""


@dataclass(frozen=True)
class Decoded:
    """What one rank saw of a sharded decode."""

    difference: float
    """Largest one to the frames of one rank alone; of rank 0, the others have no frames."""
    frames: list[int]
    """Number of frames of each chunk."""
    traffic: dict[str, dict[str, float]]


def decode(rank: Rank, degrees: tuple[int, int], fold: int, shape: Shape) -> Decoded:
    """Decode on all ranks of a mesh of (cfg, seq) `degrees`."""
    mesh, latents = rank.mesh(*degrees), noise(1, 3, *shape)
    chunks = list(_sharded(mesh, fold).decode_stream([latents]))
    worst = 0.0
    if mesh.gang.rank == 0:
        worst = _difference(torch.cat(chunks, dim=2), VAES[fold].decode(latents))
    return Decoded(worst, [chunk.shape[2] for chunk in chunks], mesh.counters.snapshot())


def encode(rank: Rank, degrees: tuple[int, int], fold: int, shape: Shape) -> float:
    """Encode on all ranks; the largest difference to one rank alone."""
    mesh, (t, h, w) = rank.mesh(*degrees), shape
    frames = noise(1, 3, 4 * t - 3, 8 * h, 8 * w)
    return _difference(_sharded(mesh, fold).encode(frames), VAES[fold].encode(frames))


def _sharded(mesh: Mesh, fold: int) -> ShardedVAE:
    return parallelize_vae(VAES[fold], mesh.gang)


def _difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    return (found - expected).abs().max().item()


def make_frames(rank: Rank, degrees: tuple[int, int], latents: np.ndarray) -> list[np.ndarray]:
    """What the default model's generator decodes on each rank, chunk by chunk."""
    generator = parallelize_generator(videogen.load("default", device="cpu"), rank.mesh(*degrees))
    return list(generator.decode(torch.from_numpy(latents)))


# On the CPU torch takes another convolution, with half the workspace, where b·c·t·h > 20,480.
# This VAE has so few channels that neither the whole picture nor a part of it is as large.
NARROW = VAEConfig(
    latent_channels=4,
    widths=(8, 8, 8),
    decoder_blocks=(1, 1, 1),
    detail_width=8,
    detail_blocks=1,
)


def decode_memory(rank: Rank, degree: int, shape: Shape, num_tiles: int = 1) -> int:
    """Peak memory of a rank, above the model, while it decodes."""
    whole = VideoVAE(NARROW).requires_grad_(False)
    if degree > 1:
        vae = parallelize_vae(whole, rank.mesh(1, degree).gang, to_bytes)
    else:
        vae = tile_vae(whole, num_tiles, to_bytes) if num_tiles > 1 else whole

    def decode_all(latents: torch.Tensor) -> None:
        for frames in vae.decode_stream([latents]):
            del frames

    decode_all(noise(1, 4, 2, 8, 8))  # kernels are prepared when they are first used
    latents = noise(1, 4, *shape)
    return peak_above_start(lambda: decode_all(latents))
