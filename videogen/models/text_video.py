"""A text-video dual encoder: clips and prompts as unit vectors that are near where they agree.

The objective and its learned temperature are those of CLIP (Radford et al. 2021, 2103.00020); the
video half attends within frames and across them in turn, as the DiT does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.models.attention import attention
from videogen.models.text import WordEncoder
from videogen.models.text_video_spec import PATCH_PX, TextVideoConfig

FIRST_SCALE, LARGEST_SCALE = 1 / 0.07, 100.0


class TextVideoEncoder(nn.Module):
    """Clips and prompts to unit vectors; `scale` is the inverse temperature of their cosines."""

    def __init__(self, config: TextVideoConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.video = VideoEncoder(config)
        self.text = WordEncoder(config.text, vocabulary)
        self.text_out = nn.Linear(config.text.width, config.embedding, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))

    @property
    def scale(self) -> Tensor:
        """Factor on cosines before the softmax, at most 100 as in the paper."""
        return self.log_scale.clamp(max=math.log(LARGEST_SCALE)).exp()

    def encode_video(self, frames: Tensor) -> Tensor:
        """Unit vectors `b d` of clips, float `b t c h w` in [-1, 1] as `clip_tensor` gives them."""
        return F.normalize(self.video(frames).float(), dim=-1)

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Unit vectors `b d` of prompts: means over their words, each seen among the others."""
        said = self.text.encode(prompts)
        weights = said.mask[..., None].to(said.tokens.dtype)
        mean = (said.tokens * weights).sum(dim=1) / weights.sum(dim=1)
        return F.normalize(self.text_out(mean).float(), dim=-1)


class VideoEncoder(nn.Module):
    """Convolutions to patches of 16 pixels, then attention within frames and across them in turn.

    Half of the first features are of a frame, half of its difference to the frame before.
    """

    def __init__(self, config: TextVideoConfig) -> None:
        super().__init__()
        early, late, width = config.early_width, config.late_width, config.width
        side = config.size // PATCH_PX
        self.edges = nn.Conv2d(3, 2 * early, 4, stride=4)
        self.corners = nn.Conv2d(2 * early, early, 3, padding=1)
        self.halves = nn.Conv2d(early, late, 2, stride=2)
        self.shapes = nn.Conv2d(late, late, 3, padding=1)
        self.patches = nn.Conv2d(late, width, 2, stride=2)
        self.places = nn.Parameter(0.02 * torch.randn(side * side, width))
        self.times = nn.Parameter(0.02 * torch.randn(config.num_frames, 1, width))
        self.blocks = nn.ModuleList(_Block(width, config.num_heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, config.embedding, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames `b t c h w` in [-1, 1] to vectors `b d`, not yet of unit length."""
        x = self._patches(frames) + self.places + self.times
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x).mean(dim=(1, 2)))

    def _patches(self, frames: Tensor) -> Tensor:
        """Tokens `b t s d`."""
        b = len(frames)
        flat = rearrange(frames, "b t c h w -> (b t) c h w")
        x = self.edges(flat.contiguous(memory_format=torch.channels_last))
        seen, moved = rearrange(x, "(b t) d h w -> b t d h w", b=b).chunk(2, dim=2)
        moved = torch.diff(moved, dim=1, prepend=moved[:, :1])
        x = rearrange(torch.cat([seen, moved], dim=2), "b t d h w -> (b t) d h w")
        x = self.halves(F.gelu(self.corners(x), approximate="tanh"))
        x = x + F.gelu(self.shapes(x), approximate="tanh")
        return rearrange(self.patches(x), "(b t) d h w -> b t (h w) d", b=b)


class _Block(nn.Module):
    """Attention within frames, across frames, and an MLP; tokens `b t s d`."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.space = _Attention(width, num_heads)
        self.time = _Attention(width, num_heads)
        self.norm = nn.LayerNorm(width)
        self.rise, self.fall = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        b = len(x)
        x = self.space(rearrange(x, "b t s d -> (b t) s d"))
        x = self.time(rearrange(x, "(b t) s d -> (b s) t d", b=b))
        x = rearrange(x, "(b s) t d -> b t s d", b=b)
        return x + self.fall(F.gelu(self.rise(self.norm(x)), approximate="tanh"))


class _Attention(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            rearrange(part, "b l (n k) -> b n l k", n=self.num_heads)
            for part in self.qkv(self.norm(x)).chunk(3, dim=-1)
        )
        return x + self.out(rearrange(attention(q, k, v), "b n l k -> b l (n k)"))
