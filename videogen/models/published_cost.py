"""What the transformers and the VAEs of published models cost; see `videogen.models.cost`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import isqrt

from videogen.models.image_vae.config import FRAMES_TOGETHER, ImageVAEConfig
from videogen.models.latte.config import LatteConfig
from videogen.models.wan.config import WanConfig
from videogen.models.wan.vae_config import WanVAEConfig

LatentShape = tuple[int, int, int, int]
# Maps alive at once in the stage that needs most, and copies of the frames; measured.
_WAN_MAPS, _PICTURE_MAPS, _FRAME_COPIES = 6.4, 3.45, 3.0
_BYTES = 4


# Tensors of all tokens alive at once, in units of `n d` in the model's dtype, and in float32.
_ATTENTION, _ATTENTION_SINGLE = 7.0, 2.0
_MLP = 4.3


def activation_bytes(dit: WanConfig | LatteConfig, n: int, itemsize: int) -> int:
    """Peak memory of a forward over `n` tokens, weights aside (an estimate)."""
    inner = dit.ffn_dim / dit.width if isinstance(dit, WanConfig) else 4
    attention = _ATTENTION * itemsize + _ATTENTION_SINGLE * _BYTES
    mlp = (_MLP + 2 * inner) * itemsize
    return int(n * dit.width * max(attention, mlp))


def wan_linear(dit: WanConfig, n: int, t: int, num_text_tokens: int) -> int:
    """Operations in linear layers of a forward over `n` tokens of `t` latent frames."""
    d, m = dit.width, dit.num_image_tokens
    block = n * (8 + 4) * d**2 + (num_text_tokens + m) * 4 * d**2 + n * 4 * d * dit.ffn_dim
    cells = dit.patch_size[1] * dit.patch_size[2]
    patches = 2 * n * cells * (dit.in_channels + dit.out_channels) * d
    time = t * (2 * dit.freq_dim * d + 2 * d**2 + 12 * d**2)
    text = num_text_tokens * 2 * (dit.text_dim * d + d**2)
    image = m * 2 * (dit.image_dim or 0) * ((dit.image_dim or 0) + d)
    return dit.num_layers * block + patches + time + text + image


def latte_linear(dit: LatteConfig, n: int, t: int, num_text_tokens: int) -> int:
    """As `wan_linear`; a pair of blocks, along space and along time, counts as one."""
    d = dit.width
    pair = n * (2 * 8 + 4) * d**2 + num_text_tokens * 4 * d**2 + n * 2 * 16 * d**2
    out_channels = dit.out_channels or dit.in_channels
    patches = 2 * n * dit.patch_size**2 * (dit.in_channels + out_channels) * d
    time = t * (2 * 256 * d + 2 * d**2 + 12 * d**2)
    text = num_text_tokens * 2 * (dit.caption_channels * d + d**2)
    return dit.num_layers * pair + patches + time + text


@dataclass(frozen=True)
class _Layer:
    """A convolution of a decoder; `area` is in cells of the latent grid."""

    channels: int
    out_channels: int
    taps: int
    area: int
    rate: int = 0
    """Frames of a latent frame after the first, as a power of two."""
    past: int = 0
    """Frames of its input that are carried on."""
    skips_first: bool = False

    def frames(self, t: int) -> int:
        """Frames that it is applied to, of a clip of `t` latent frames."""
        return 2**self.rate * (t - 1) + (0 if self.skips_first else 1)

    def flops(self, t: int, cells: int) -> int:
        frames = self.frames(t)
        return 2 * self.taps * self.channels * self.out_channels * self.area * cells * frames


def _residual(before: int, after: int, area: int, rate: int) -> Iterator[_Layer]:
    yield _Layer(before, after, 27, area, rate, past=2)
    yield _Layer(after, after, 27, area, rate, past=2)
    if before != after:
        yield _Layer(before, after, 1, area, rate)


def _wan_layers(vae: WanVAEConfig) -> Iterator[_Layer]:
    widths = vae.decoder_widths
    top, faster = widths[0], vae.temperal_downsample[::-1]
    yield _Layer(vae.z_dim, vae.z_dim, 1, 1)
    yield _Layer(vae.z_dim, top, 27, 1, past=2)
    for _ in range(2):
        yield from _residual(top, top, 1, 0)
    yield _Layer(top, 4 * top, 1, 1)  # attention's projections
    area, rate = 1, 0
    for stage, channels in enumerate(widths[1:]):
        first = widths[stage] // 2 if stage else top
        inner = [first, *[channels] * (vae.num_res_blocks + 1)]
        for before, after in pairwise(inner):
            yield from _residual(before, after, area, rate)
        if stage == len(faster):
            break
        if faster[stage]:
            # Frames after the clip's first come as pairs: each pair is one step of this layer.
            yield _Layer(channels, 2 * channels, 3, area, rate, past=2, skips_first=True)
            rate += 1
        area *= 4
        yield _Layer(channels, channels // 2, 9, area, rate)
    yield _Layer(widths[-1], vae.out_channels, 27, area, rate, past=2)


def wan_decode_flops(vae: WanVAEConfig, latent_shape: LatentShape) -> int:
    """Operations of decoding latents `c t h w`."""
    _, t, h, w = latent_shape
    layers = sum(layer.flops(t, h * w) for layer in _wan_layers(vae))
    return layers + t * 4 * vae.decoder_widths[0] * (h * w) ** 2


def wan_halo_bytes(vae: WanVAEConfig, t: int, cells: int) -> int:
    """Bytes of the lines, `cells` long on the latent grid, that all convolutions see beside a part.

    Keys and values of attention, which all ranks exchange, are not in it; they are few.
    """
    layers = [layer for layer in _wan_layers(vae) if layer.taps >= 9]
    return _BYTES * sum(x.channels * cells * isqrt(x.area) * x.frames(t) for x in layers)


def wan_decode_cache_bytes(vae: WanVAEConfig, height: int, width: int) -> int:
    """Memory that the streaming decoder carries on."""
    cells = (height // vae.space_factor) * (width // vae.space_factor)
    return _BYTES * cells * sum(x.past * x.channels * x.area for x in _wan_layers(vae))


def wan_decode_peak_bytes(vae: WanVAEConfig, height: int, width: int) -> int:
    """Peak memory of streaming decode, weights aside."""
    cells = (height // vae.space_factor) * (width // vae.space_factor)
    largest = max(x.channels * x.area * 2**x.rate for x in _wan_layers(vae) if x.past)
    frames = _FRAME_COPIES * 3 * vae.time_factor * height * width
    working = int(_BYTES * (_WAN_MAPS * largest * cells + frames))
    return wan_decode_cache_bytes(vae, height, width) + working


def _picture_layers(vae: ImageVAEConfig, across_frames: bool) -> Iterator[tuple[int, int, int]]:
    """Input channels times taps, output channels and area of every convolution."""
    widths = vae.block_out_channels[::-1]
    top, area = widths[0], 1
    if vae.use_post_quant_conv and not across_frames:
        yield vae.latent_channels, vae.latent_channels, 1
    yield 9 * vae.latent_channels, top, 1
    num_middle = min(2, vae.layers_per_block) if across_frames else 2
    for _ in range(num_middle):
        yield from _picture_block(top, top, 1, across_frames)
    if _attends(vae, across_frames):
        yield top, 4 * top, 1
    for stage, channels in enumerate(widths):
        inner = [widths[max(0, stage - 1)], *[channels] * (vae.layers_per_block + 1)]
        for before, after in pairwise(inner):
            yield from _picture_block(before, after, area, across_frames)
        if stage < len(widths) - 1:
            area *= 4
            yield 9 * channels, channels, area
    yield 9 * widths[-1], vae.out_channels, area
    if across_frames:
        yield 3 * vae.out_channels, vae.out_channels, area


def _attends(vae: ImageVAEConfig, across_frames: bool) -> bool:
    has_room = not across_frames or vae.layers_per_block > 1
    return has_room and (across_frames or vae.mid_block_add_attention)


def _picture_block(
    before: int, after: int, area: int, across_frames: bool
) -> Iterator[tuple[int, int, int]]:
    yield 9 * before, after, area
    yield 9 * after, after, area
    if before != after:
        yield before, after, area
    if across_frames:
        yield 3 * after, after, area
        yield 3 * after, after, area


def image_decode_flops(vae: ImageVAEConfig, latent_shape: LatentShape, across_frames: bool) -> int:
    """Operations of decoding latents `c t h w`, picture by picture or several together."""
    _, t, h, w = latent_shape
    layers = sum(2 * a * b * area for a, b, area in _picture_layers(vae, across_frames))
    attends = _attends(vae, across_frames)
    attention = 4 * vae.block_out_channels[-1] * (h * w) ** 2 if attends else 0
    return t * (layers * h * w + attention)


def image_decode_peak_bytes(
    vae: ImageVAEConfig, height: int, width: int, across_frames: bool
) -> int:
    """Peak memory of decoding, weights aside."""
    widths = vae.block_out_channels
    finest = max(widths[0], widths[min(1, len(widths) - 1)])
    together = FRAMES_TOGETHER if across_frames else 1
    maps = _PICTURE_MAPS * finest + 3 * _FRAME_COPIES
    return int(_BYTES * together * maps * height * width)
