"""What a clip costs before it is made: tokens, floating-point operations, memory, seconds.

Pure arithmetic over configurations; nothing is built or run. A multiply-add counts as two
operations, and only matrix products and convolutions are counted, as `torch.utils.flop_counter`
does. Attention is counted as the kernels compute it: in full, with masked pairs included.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import torch

from videogen.models import published_cost as published
from videogen.models.config import DiTConfig, VAEConfig
from videogen.models.image_vae.config import ImageVAEConfig
from videogen.models.latte.config import LatteConfig
from videogen.models.wan.config import WanConfig
from videogen.models.wan.vae_config import WanVAEConfig

Transformer: TypeAlias = DiTConfig | WanConfig | LatteConfig
VAE: TypeAlias = VAEConfig | WanVAEConfig | ImageVAEConfig

LatentShape = tuple[int, int, int, int]
"""Latents of one clip, `c t h w`."""
TIMESTEP_WAVES = 256
# Tensors of all tokens alive at once, in units of one `b t s d`, measured with a block in eval
# mode: around attention, and around the MLP beside its two inner tensors.
_ATTENTION_TENSORS = 12.5
_MLP_TENSORS = 4.0
# Maps alive at once while four frames are decoded, by the stage that needs most; measured.
_FULL_RATE_MAPS, _HALF_RATE_MAPS, _DETAIL_MAPS, _FRAME_COPIES = 5.5, 6.0, 5.0, 2.0
_VAE_BYTES = 4


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of a forward of the DiT, by what they are spent on."""

    linear: int
    self_attention: int
    cross_attention: int

    @property
    def total(self) -> int:
        return self.linear + self.self_attention + self.cross_attention


def stages(dit: Transformer) -> list[Transformer]:
    """What runs its blocks over tokens of its own size: the DiT, and the stage at single cells."""
    fine = dit.detail if isinstance(dit, DiTConfig) else None
    return [dit] if fine is None else [dit, fine]


def token_grid(dit: Transformer, latent_shape: LatentShape) -> tuple[int, int]:
    """Tokens along time and tokens of one frame, (t, s), of latents `c t h w`."""
    _, t, h, w = latent_shape
    return t // dit.patch[0], (h // dit.patch[1]) * (w // dit.patch[2])


def num_tokens(dit: Transformer, latent_shape: LatentShape) -> int:
    """Tokens of one clip: T/p_t · H/p_h · W/p_w."""
    t, s = token_grid(dit, latent_shape)
    return t * s


def attention_pairs(dit: Transformer, latent_shape: LatentShape) -> int:
    """Query-key pairs that self-attention computes per head and block.

    Factorized attention compares t·s² pairs within frames and s·t² along time; joint and windowed
    attention compare (t·s)², of which a window then masks all but `attended_pairs`.
    """
    t, s = token_grid(dit, latent_shape)
    return t * s**2 + s * t**2 if dit.attention == "factorized" else (t * s) ** 2


def attended_pairs(dit: DiTConfig, latent_shape: LatentShape) -> int:
    """Query-key pairs that may attend: `attention_pairs` less what window and causality mask."""
    t, s = token_grid(dit, latent_shape)
    reach = dit.window if dit.attention == "windowed" else t
    frames = sum(
        max(0, min(t - 1, i if dit.causal else i + reach) - max(0, i - reach) + 1) for i in range(t)
    )
    return t * s**2 + s * frames if dit.attention == "factorized" else frames * s**2


def forward_flops(
    dit: Transformer, latent_shape: LatentShape, num_text_tokens: int, batch_size: int = 1
) -> Flops:
    """Operations of one forward of the DiT over latents `c t h w` with `l` text tokens."""
    n, t = num_tokens(dit, latent_shape), token_grid(dit, latent_shape)[0]
    attended = num_text_tokens + (dit.num_image_tokens if isinstance(dit, WanConfig) else 0)
    self_attention = cross_attention = 0
    for stage in stages(dit):
        per_pair = batch_size * stage.depth * 4 * stage.width
        self_attention += per_pair * attention_pairs(stage, latent_shape)
        cross_attention += per_pair * num_tokens(stage, latent_shape) * attended
    return Flops(
        linear=batch_size * _linear(dit, n, t, num_text_tokens),
        self_attention=self_attention,
        cross_attention=cross_attention,
    )


def _linear(dit: Transformer, n: int, t: int, num_text_tokens: int) -> int:
    if isinstance(dit, WanConfig):
        return published.wan_linear(dit, n, t, num_text_tokens)
    if isinstance(dit, LatteConfig):
        return published.latte_linear(dit, n, t, num_text_tokens)
    per_block = _block_linear(dit, n, t, num_text_tokens)
    ends = _ends_linear(dit, n, t, num_text_tokens) + _detail_linear(dit, n, t, num_text_tokens)
    return dit.depth * per_block + ends


def _block_linear(dit: DiTConfig, n: int, t: int, num_text_tokens: int) -> int:
    d, num_attentions = dit.width, 2 if dit.attention == "factorized" else 1
    self_attention = num_attentions * n * 8 * d**2
    cross_attention = n * 4 * d**2 + num_text_tokens * 4 * d**2
    mlp = n * 4 * d * int(d * dit.mlp_ratio)
    modulation = t * (num_attentions + 1) * 6 * d**2
    return self_attention + cross_attention + mlp + modulation


def _ends_linear(dit: DiTConfig, n: int, t: int, num_text_tokens: int) -> int:
    d = dit.width
    cell = dit.in_channels * dit.patch[1] * dit.patch[2]
    patches = 2 * n * 2 * cell * d
    timestep = t * (2 * TIMESTEP_WAVES * d + 2 * d**2)
    text = (num_text_tokens + 1) * 2 * dit.text_width * d
    return patches + timestep + text + t * 4 * d**2


def _detail_linear(dit: DiTConfig, n: int, t: int, num_text_tokens: int) -> int:
    fine = dit.detail
    if fine is None:
        return 0
    cells_per_token = dit.patch[1] * dit.patch[2]
    cells = n * cells_per_token
    handed_down = 2 * n * dit.width * cells_per_token * fine.width
    told = 2 * (t + num_text_tokens) * dit.width * fine.width
    ends = 2 * cells * 2 * fine.in_channels * fine.width + t * 4 * fine.width**2
    return fine.depth * _block_linear(fine, cells, t, num_text_tokens) + handed_down + told + ends


def decode_flops(vae: VAE, latent_shape: LatentShape) -> int:
    """Operations of decoding latents `c t h w` to frames."""
    if isinstance(vae, WanVAEConfig):
        return published.wan_decode_flops(vae, latent_shape)
    if isinstance(vae, ImageVAEConfig):
        return published.image_decode_flops(vae, latent_shape, vae.across_frames)
    _, t, h, w = latent_shape
    fast, half, slow = vae.widths
    inner = vae.space_factor // vae.pixel_shuffle
    cells, fine = h * w, h * w * inner**2
    blocks = vae.decoder_blocks
    at_latent_rate = slow * (
        27 * vae.latent_channels + blocks[0] * 2 * 27 * slow + 3 * 2 * half * inner**2
    )
    at_half_rate = half * (blocks[1] * 2 * 12 * half + 3 * 2 * fast)
    finest = (vae.pixel_shuffle // 2) ** 2
    at_full_rate = fast * (blocks[2] * 2 * 12 * fast + 9 * vae.detail_width * finest)
    detail = vae.detail_width * finest * 9 * (vae.detail_blocks * 2 * vae.detail_width + 3 * 2**2)
    return 2 * (
        t * cells * at_latent_rate
        + (2 * t - 1) * fine * at_half_rate
        + (4 * t - 3) * fine * (at_full_rate + detail)
    )


def clip_flops(
    dit: Transformer,
    vae: VAE,
    latent_shape: LatentShape,
    *,
    num_text_tokens: int,
    num_inference_steps: int,
    guided: bool = True,
) -> int:
    """Operations of a whole clip: every denoising step, twice if `guided`, and the decoding.

    One evaluation per step, which is what every sampler but `heun` takes (`heun` takes two).
    """
    passes = num_inference_steps * (2 if guided else 1)
    forward = forward_flops(dit, latent_shape, num_text_tokens).total
    return passes * forward + decode_flops(vae, latent_shape)


def compression_ratio(vae: VAE, num_frames: int, height: int, width: int) -> float:
    """Numbers in the pixels of a clip per number in its latents."""
    cells = (height // vae.space_factor) * (width // vae.space_factor)
    latents = vae.latent_channels * vae.latent_frames(num_frames) * cells
    return 3 * num_frames * height * width / latents


def weight_bytes(num_parameters: int, dtype: torch.dtype) -> int:
    """Memory that holds this many parameters."""
    return num_parameters * dtype.itemsize


def activation_bytes(
    dit: Transformer, latent_shape: LatentShape, dtype: torch.dtype, batch_size: int = 1
) -> int:
    """Peak memory of a forward without gradients, weights aside (an estimate, within a tenth).

    Assumes attention kernels that never hold the matrix of scores.
    """
    n = num_tokens(dit, latent_shape)
    if not isinstance(dit, DiTConfig):
        return batch_size * published.activation_bytes(dit, n, dtype.itemsize)
    if dit.detail is not None:
        kept = batch_size * handed_down_bytes(dit, latent_shape, dtype)
        at_patches, at_cells = (
            activation_bytes(stage, latent_shape, dtype, batch_size)
            for stage in (replace(dit, detail_depth=0), dit.detail)
        )
        return max(at_patches, at_cells + kept)
    tensors = max(_ATTENTION_TENSORS, _MLP_TENSORS + 2 * dit.mlp_ratio)
    is_masked = dit.attention == "windowed" or (dit.attention == "joint" and dit.causal)
    mask = n**2 * (1 + dtype.itemsize) if is_masked else 0
    return int(batch_size * n * dit.width * tensors * dtype.itemsize) + mask


def handed_down_bytes(dit: Transformer, latent_shape: LatentShape, dtype: torch.dtype) -> int:
    """Memory of what waits while blocks at single cells compute: tokens, features, two latents.

    Where ranks share the tokens, each holds all of it.
    """
    fine = dit.detail if isinstance(dit, DiTConfig) else None
    if fine is None:
        return 0
    of_cells = num_tokens(fine, latent_shape) * 2 * (fine.width + fine.in_channels)
    return (num_tokens(dit, latent_shape) * dit.width + of_cells) * dtype.itemsize


def decode_cache_bytes(vae: VAE, height: int, width: int) -> int:
    """Memory that the streaming decoder carries from one latent frame to the next, float32."""
    if isinstance(vae, WanVAEConfig):
        return published.wan_decode_cache_bytes(vae, height, width)
    if isinstance(vae, ImageVAEConfig):
        return 0
    fast, half, slow = vae.widths
    inner = vae.space_factor // vae.pixel_shuffle
    cells = (height // vae.space_factor) * (width // vae.space_factor)
    coarse = vae.latent_channels + slow * (2 * vae.decoder_blocks[0] + 1)
    fine = half * (2 * vae.decoder_blocks[1] + 1) + fast * 2 * vae.decoder_blocks[2]
    return 2 * cells * (coarse + fine * inner**2) * _VAE_BYTES


def decode_peak_bytes(vae: VAE, height: int, width: int) -> int:
    """Peak memory of streaming decode, weights aside, whatever the clip's length.

    An estimate: what convolution kernels allocate for themselves is not in it.
    """
    if isinstance(vae, WanVAEConfig):
        return published.wan_decode_peak_bytes(vae, height, width)
    if isinstance(vae, ImageVAEConfig):
        return published.image_decode_peak_bytes(vae, height, width, vae.across_frames)
    fast, half, _ = vae.widths
    pixels, frames = height * width // vae.pixel_shuffle**2, 4 * 3 * height * width
    working = max(
        _FULL_RATE_MAPS * 4 * fast * pixels,
        _HALF_RATE_MAPS * 2 * half * pixels,
        _DETAIL_MAPS * 4 * vae.detail_width * height * width / 4,
        _FRAME_COPIES * frames,
    )
    return decode_cache_bytes(vae, height, width) + int((frames + working) * _VAE_BYTES)


def estimate_seconds(flops: float, flops_per_s: float) -> float:
    """Seconds that `flops` operations take at a sustained rate of `flops_per_s`."""
    return flops / flops_per_s
