"""What one rank of a gang computes, holds and sends: arithmetic, for the busiest rank."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from videogen.models import cost
from videogen.models.image_vae.config import FRAMES_TOGETHER, ImageVAEConfig
from videogen.models.published_cost import wan_halo_bytes
from videogen.models.wan.vae_config import WanVAEConfig
from videogen.parallel.vae_split import ROWS, Split

_TOKEN_FLOATS = 3
"""RoPE angles of a token, in units of half a head: the table, its cosines and sines."""


@dataclass(frozen=True)
class Degrees:
    """How the ranks of a gang share a clip."""

    cfg: int = 1
    seq: int = 1
    ulysses: int = 1
    """Of the `seq` ranks, how many trade heads for tokens; groups of them form a ring."""

    @property
    def num_ranks(self) -> int:
        return self.cfg * self.seq

    @property
    def ring(self) -> int:
        return self.seq // self.ulysses


@dataclass(frozen=True, kw_only=True)
class ClipDemand:
    """One clip of one model; what the planner knows of both."""

    dit: cost.Transformer
    vae: cost.VAE
    num_frames: int
    height: int
    width: int
    num_text_tokens: int
    num_inference_steps: int
    """Evaluations of the denoiser, guidance not counted in."""
    is_guided: bool
    dtype: torch.dtype
    num_dit_parameters: int
    num_vae_parameters: int
    """And those of an image encoder, which is in float32 as well."""
    num_text_parameters: int = 0
    offloads_text: bool = False
    """Whether the text encoder visits the GPU only while it is used."""
    offloads_vae: bool = False

    @property
    def latent_shape(self) -> cost.LatentShape:
        side = self.vae.space_factor
        return (
            self.vae.latent_channels,
            self.vae.latent_frames(self.num_frames),
            self.height // side,
            self.width // side,
        )

    @property
    def token_grid(self) -> tuple[int, int]:
        return cost.token_grid(self.dit, self.latent_shape)


def _share(total: int, parts: int) -> float:
    """The largest of `parts` shares, as a part of 1."""
    return -(-total // parts) / total


def token_shares(demand: ClipDemand, seq: int) -> tuple[float, float, str]:
    """The busiest rank's share of the tokens, that while the cut is moved over, and what is cut.

    Tokens are cut along the axis, space or time, whose largest share is smaller.
    """
    t, s = demand.token_grid
    by_space, by_time = _share(s, seq), _share(t, seq)
    if by_space <= by_time:
        return by_space, by_time, "space"
    return by_time, by_space, "time"


def rank_flops(demand: ClipDemand, degrees: Degrees) -> float:
    """Operations of the busiest rank in one forward of the DiT; within a few percent.

    What every rank does for itself (text, timesteps) counts as shared; it is little.
    """
    dit, shape = demand.dit, demand.latent_shape
    whole = cost.forward_flops(dit, shape, demand.num_text_tokens)
    here = token_shares(demand, degrees.seq)[0]
    t, s = demand.token_grid
    if dit.attention != "factorized":
        mixed = whole.self_attention * _attention_share(dit, degrees, t * s)
        return (whole.linear + whole.cross_attention) * here + mixed
    total = whole.total * here
    for stage in _stages(demand):
        here, crossed, cut = token_shares(stage, degrees.seq)
        total += _crossed_flops(stage, cut) * (crossed - here)
    return total


def _crossed_flops(demand: ClipDemand, cut: str) -> int:
    """Attention along the axis that is cut, with its projections: it works on crossed shares."""
    dit, (t, s) = demand.dit, demand.token_grid
    pairs = {"space": t * s**2, "time": s * t**2}
    return dit.depth * (8 * t * s * dit.width**2 + 4 * dit.width * pairs[cut])


def _stages(demand: ClipDemand) -> list[ClipDemand]:
    """The same clip for each stage of its DiT, which have tokens of their own sizes."""
    return [replace(demand, dit=stage) for stage in cost.stages(demand.dit)]


def _attention_share(dit: cost.Transformer, degrees: Degrees, num_tokens: int) -> float:
    return _share(dit.num_heads, degrees.ulysses) * _share(num_tokens, degrees.ring)


def forward_bytes(demand: ClipDemand, degrees: Degrees) -> float:
    """Bytes that a rank sends within `seq` in one forward."""
    gathered = _latent_bytes(demand) + _handed_down_bytes(demand)
    return (
        all_to_all_bytes(demand, degrees)
        + ring_bytes(demand, degrees)
        + gathered / degrees.seq * (degrees.seq - 1)
    )


def _handed_down_bytes(demand: ClipDemand) -> int:
    """What goes from patches to single cells between the stages of a DiT, and comes out there."""
    return sum(
        cost.num_tokens(stage.dit, stage.latent_shape)
        * (stage.dit.width + stage.dit.in_channels)
        * demand.dtype.itemsize
        for stage in _stages(demand)[1:]
    )


def all_to_all_bytes(demand: ClipDemand, degrees: Degrees) -> float:
    """Bytes that move cuts in one forward, M being those of all tokens.

    Factorized: 2 M/N (N-1)/N a block, to move the cut over and back. Otherwise 4 M/N (U-1)/U, to
    trade heads for tokens.
    """
    if demand.dit.attention == "factorized":
        return 2 * _block_bytes(demand, degrees) * (1 - 1 / degrees.seq)
    return 4 * _block_bytes(demand, degrees) * (1 - 1 / degrees.ulysses)


def ring_bytes(demand: ClipDemand, degrees: Degrees) -> float:
    """Bytes of keys and values in one forward: 2 M/N for each hop around the ring."""
    if demand.dit.attention == "factorized":
        return 0.0
    return 2 * _block_bytes(demand, degrees) * (degrees.ring - 1)


def _block_bytes(demand: ClipDemand, degrees: Degrees) -> float:
    """M/N of every block together: a rank's share of the tokens that it works on."""
    total = sum(
        stage.dit.depth * stage.dit.width * cost.num_tokens(stage.dit, stage.latent_shape)
        for stage in _stages(demand)
    )
    return total * demand.dtype.itemsize / degrees.seq


def gather_bytes(demand: ClipDemand, degrees: Degrees) -> float:
    """Bytes a rank sends in one forward where each keeps a share of the DiT's weights."""
    return dit_bytes(demand) * (1 - 1 / degrees.num_ranks)


def dit_bytes(demand: ClipDemand) -> int:
    """Weights of the DiT."""
    return cost.weight_bytes(demand.num_dit_parameters, demand.dtype)


def step_bytes(demand: ClipDemand, degrees: Degrees) -> float:
    """Bytes that a rank sends in one denoising step."""
    halves = _latent_bytes(demand) if degrees.cfg == 2 else 0
    return forwards_per_step(demand, degrees) * forward_bytes(demand, degrees) + halves


def forwards_per_step(demand: ClipDemand, degrees: Degrees) -> int:
    """How often a rank calls the DiT in one denoising step."""
    return 2 if demand.is_guided and degrees.cfg == 1 else 1


def _latent_bytes(demand: ClipDemand) -> int:
    c, t, h, w = demand.latent_shape
    return c * t * h * w * demand.dtype.itemsize


def denoise_bytes(demand: ClipDemand, degrees: Degrees) -> int:
    """Peak memory of denoising on the busiest rank, weights aside; an estimate."""
    share = token_shares(demand, degrees.seq)[0]
    dit, shape = demand.dit, demand.latent_shape
    whole = cost.handed_down_bytes(dit, shape, demand.dtype) * (1 - share)
    sharded = cost.activation_bytes(dit, shape, demand.dtype) * share + whole
    angles = cost.num_tokens(dit, shape) * _TOKEN_FLOATS * (dit.head_width // 2) * 4 * share
    return int(sharded + (angles if degrees.seq > 1 else 0) + 4 * _latent_bytes(demand))


def decode_bytes(demand: ClipDemand, degrees: Degrees) -> int:
    """Peak memory of decoding on rank 0, weights aside; an estimate."""
    height, width = part_size(demand.vae, demand.height, demand.width, degrees.num_ranks)
    part = cost.decode_peak_bytes(demand.vae, height, width)
    gathered = 2 * 4 * 3 * demand.height * demand.width if degrees.num_ranks > 1 else 0
    return part + gathered + 2 * _latent_bytes(demand)


def decode_share(demand: ClipDemand, degree: int) -> float:
    """The busiest rank's share of decoding."""
    vae = demand.vae
    if isinstance(vae, ImageVAEConfig):
        together = FRAMES_TOGETHER if vae.across_frames else 1
        pieces = -(-demand.num_frames // together)
        return _share(pieces, degree)
    height, width = part_size(vae, demand.height, demand.width, degree)
    return height * width / (demand.height * demand.width)


def part_size(vae: cost.VAE, height: int, width: int, degree: int) -> tuple[int, int]:
    """Pixels of the largest part of a picture that is cut for so many ranks, (height, width)."""
    if isinstance(vae, ImageVAEConfig):
        return height, width  # pictures are shared out whole
    side = vae.space_factor
    split = Split.of_latents(height // side, width // side, degree)
    lines = split.sizes[0] * side
    return (lines, width) if split.dim == ROWS else (height, lines)


def halo_bytes(vae: cost.VAE, num_frames: int, height: int, width: int, degree: int) -> int:
    """Bytes that an inner rank sends to one of its neighbours while a clip is decoded."""
    if isinstance(vae, ImageVAEConfig):
        return 0
    side, t = vae.space_factor, vae.latent_frames(num_frames)
    split = Split.of_latents(height // side, width // side, degree)
    if split.num_active < 2:
        return 0
    cells = (width if split.dim == ROWS else height) // side
    if isinstance(vae, WanVAEConfig):
        return wan_halo_bytes(vae, t, cells)
    fast, half, slow = vae.widths
    inner = side // vae.pixel_shuffle
    coarse = t * (vae.latent_channels + 2 * vae.decoder_blocks[0] * slow)
    halfway = (2 * t - 1) * 2 * vae.decoder_blocks[1] * half
    full = (4 * t - 3) * (2 * vae.decoder_blocks[2] + 1) * fast
    detail = (4 * t - 3) * (2 * vae.detail_blocks + 1) * vae.detail_width
    return 4 * cells * (coarse + inner * (halfway + full) + side // 2 * detail)
