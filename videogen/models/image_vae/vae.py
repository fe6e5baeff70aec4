"""Image VAEs as video VAEs: every picture is a frame, and every latent frame a picture's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.models.causal_conv import StreamCache
from videogen.models.image_vae.config import FRAMES_TOGETHER, ImageVAEConfig
from videogen.models.image_vae.layers import EPS, PictureAttention, ResidualBlock, Resize
from videogen.models.image_vae.temporal import GROUPS, TemporalResidualBlock

Block = Callable[[int, int], nn.Module]


class _Stage(nn.Module):
    """Residual blocks, then a step in size but in the last."""

    def __init__(self, channels: list[int], block: Block, stride: int | None, name: str) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(block(*pair) for pair in pairwise(channels))
        self._resize = name
        resize = None if stride is None else nn.ModuleList([Resize(channels[-1], stride)])
        setattr(self, name, resize)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (*self.resnets, *(getattr(self, self._resize) or ())):
            x = layer(x)
        return x


class _Middle(nn.Module):
    """Residual blocks, with attention within pictures before the second, if there is one."""

    def __init__(
        self, channels: int, block: Block, num_blocks: int, groups: int, attends: bool
    ) -> None:
        super().__init__()
        attention = [PictureAttention(channels, groups)] if attends else []
        self.attentions = nn.ModuleList(attention)
        self.resnets = nn.ModuleList(block(channels, channels) for _ in range(num_blocks))

    def forward(self, x: Tensor) -> Tensor:
        first, *rest = self.resnets
        for layer in (first, *(self.attentions if rest else ()), *rest):
            x = layer(x)
        return x


class ImageEncoder(nn.Module):
    """Pictures `b 3 h w` to moments `b 2c h/8 w/8`."""

    def __init__(self, config: ImageVAEConfig) -> None:
        super().__init__()
        widths, groups = config.block_out_channels, config.norm_num_groups

        def block(before: int, after: int) -> nn.Module:
            return ResidualBlock(before, after, groups)

        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            _Stage(
                [widths[max(0, i - 1)], *[width] * config.layers_per_block],
                block,
                2 if i < len(widths) - 1 else None,
                "downsamplers",
            )
            for i, width in enumerate(widths)
        )
        attends = config.mid_block_add_attention
        self.mid_block = _Middle(widths[-1], block, 2, groups, attends)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], EPS)
        self.conv_out = nn.Conv2d(widths[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for block in (*self.down_blocks, self.mid_block):
            x = block(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class ImageDecoder(nn.Module):
    """Latents `b c h w` to pictures `b 3 8h 8w`; each alone, or `b` frames of a clip together."""

    def __init__(self, config: ImageVAEConfig, across_frames: bool) -> None:
        super().__init__()
        widths = config.block_out_channels[::-1]
        groups = GROUPS if across_frames else config.norm_num_groups

        def block(before: int, after: int) -> nn.Module:
            if across_frames:
                return TemporalResidualBlock(before, after)
            return ResidualBlock(before, after, groups)

        self.conv_in = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1)
        num_middle = min(2, config.layers_per_block) if across_frames else 2
        attends = across_frames or config.mid_block_add_attention
        self.mid_block = _Middle(widths[0], block, num_middle, groups, attends)
        self.up_blocks = nn.ModuleList(
            _Stage(
                [widths[max(0, i - 1)], *[width] * (config.layers_per_block + 1)],
                block,
                1 if i < len(widths) - 1 else None,
                "upsamplers",
            )
            for i, width in enumerate(widths)
        )
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], EPS)
        self.conv_out = nn.Conv2d(widths[-1], config.out_channels, 3, padding=1)
        channels = config.out_channels
        self.time_conv_out = (
            nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0)) if across_frames else None
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for block in (self.mid_block, *self.up_blocks):
            x = block(x)
        x = self.conv_out(F.silu(self.conv_norm_out(x)))
        if self.time_conv_out is None:
            return x
        return self.time_conv_out(x.transpose(0, 1)[None])[0].transpose(0, 1)


class ImageVAE(nn.Module):
    """Encoder and decoder between frames in [-1, 1] and latents (not yet normalised)."""

    def __init__(self, config: ImageVAEConfig, across_frames: bool = False) -> None:
        """Decode each picture alone or, with `across_frames`, up to 14 of a clip together."""
        super().__init__()
        self.config = config
        self.frames_together = FRAMES_TOGETHER if across_frames else 1
        c = config.latent_channels
        self.encoder = ImageEncoder(config)
        self.decoder = ImageDecoder(config, across_frames)
        self.quant_conv = nn.Conv2d(2 * c, 2 * c, 1) if config.use_quant_conv else None
        follows = config.use_post_quant_conv and not across_frames
        self.post_quant_conv = nn.Conv2d(c, c, 1) if follows else None

    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latents of frames `b 3 t h w` in [-1, 1]."""
        moments = torch.stack([self._moments(frame) for frame in frames.unbind(2)], dim=2)
        mean, log_variance = moments.chunk(2, dim=1)
        return mean, log_variance.clamp(-30.0, 20.0)

    def _moments(self, pictures: Tensor) -> Tensor:
        moments = self.encoder(pictures)
        return moments if self.quant_conv is None else self.quant_conv(moments)

    def encode(self, frames: Tensor) -> Tensor:
        """Latents `b c t h/8 w/8` (the posterior mean) of frames `b 3 t h w` in [-1, 1]."""
        return self.posterior(frames)[0]

    def decode(self, latents: Tensor) -> Tensor:
        """Frames `b 3 t 8h 8w` in about [-1, 1] of latents `b c t h w`."""
        return torch.cat(list(self.decode_stream([latents])), dim=2)

    def decode_stream(
        self, chunks: Iterable[Tensor], cache: StreamCache | None = None
    ) -> Iterator[Tensor]:
        """Frames of consecutive chunks of latents, a few at a time.

        Args:
            chunks: consecutive latents `b c t h w` of one clip, any t each. A decoder across frames
                takes up to 14 of a chunk together, and none across chunks.
            cache: not used, because nothing is carried.

        Yields:
            `b 3 f h w`: f = 1, or up to 14 for a decoder across frames.
        """
        for chunk in chunks:
            for latents in chunk.split(self.frames_together, dim=2):
                yield torch.stack([self._decode(clip) for clip in latents])

    def _decode(self, latents: Tensor) -> Tensor:
        """Frames `3 t 8h 8w` of latents `c t h w`."""
        pictures = rearrange(latents, "c t h w -> t c h w")
        if self.post_quant_conv is not None:
            pictures = self.post_quant_conv(pictures)
        return rearrange(self.decoder(pictures), "t c h w -> c t h w")


_OLD_NAMES = {
    ".query.": ".to_q.",
    ".key.": ".to_k.",
    ".value.": ".to_v.",
    ".proj_attn.": ".to_out.0.",
}


def current_name(key: str) -> str:
    """A weight's name, given the one it has here or had in older files."""
    for old, new in _OLD_NAMES.items():
        if ".attentions." in key:
            key = key.replace(old, new)
    return key
