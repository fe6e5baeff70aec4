"""The transformer block: attention over space and time, attention to text, MLP; adaLN-zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.models.attention import attention
from videogen.models.config import DiTConfig
from videogen.models.kv_cache import Past
from videogen.models.rope import rotate
from videogen.models.sublayers import through_gelu

Axis = Literal["space", "time", "spacetime"]
# How `b t s` folds into a batch and a sequence for attention along each axis.
_FOLDS = {
    "space": ("b t s (n k) -> (b t) n s k", "(b t) n s k -> b t s (n k)"),
    "time": ("b t s (n k) -> (b s) n t k", "(b s) n t k -> b t s (n k)"),
    "spacetime": ("b t s (n k) -> b n (t s) k", "b n (t s) k -> b t s (n k)"),
}
_ANGLES = {"space": "t s k -> t 1 s k", "time": "t s k -> s 1 t k", "spacetime": "t s k -> (t s) k"}


class HeadNorm(nn.Module):
    """RMS norm of queries or keys over the width of a head, in the dtype of its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], self.weight.to(x.dtype), 1e-6)


class SelfAttention(nn.Module):
    """Multi-head self-attention of tokens `b t s d` along one axis, with QK-RMSNorm and RoPE."""

    def __init__(self, config: DiTConfig, axis: Axis) -> None:
        super().__init__()
        self.axis = axis
        self.num_heads = config.num_heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.q_norm = HeadNorm(config.head_width)
        self.k_norm = HeadNorm(config.head_width)
        self.out = nn.Linear(config.width, config.width)
        self.backend = "sdpa"
        self.attend: Callable[..., Tensor] = attention

    def forward(
        self,
        x: Tensor,
        angles: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
        past: Past | None = None,
    ) -> Tensor:
        """Attend along this axis.

        Args:
            x: tokens `b t s d`.
            angles: RoPE angles `t s k`.
            mask: bool `q k` for axis "spacetime"; True = attend.
            causal: see only the past; only for axis "time".
            past: keys and values of frames before these; only for axis "time", b = 1.
        """
        b, t, s, _ = x.shape
        fold, unfold = _FOLDS[self.axis]
        q, k, v = (rearrange(part, fold, n=self.num_heads) for part in self.qkv(x).chunk(3, dim=-1))
        cosine, sine = self._rotations(angles, b, q.dtype)
        q, k = rotate(self.q_norm(q), cosine, sine), self.k_norm(k)
        if past is not None:
            k, v = past.extend(k, v)
            cosine, sine = self._rotations(past.angles, b, k.dtype)
        k = rotate(k, cosine, sine)
        mixed = self.attend(q, k, v, mask, causal=causal, backend=self.backend)
        return self.out(rearrange(mixed, unfold, b=b, t=t, s=s))

    def _rotations(self, angles: Tensor, b: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        folded = rearrange(angles, _ANGLES[self.axis])
        if self.axis != "spacetime":
            folded = folded.repeat(b, 1, 1, 1)
        return folded.cos().to(dtype), folded.sin().to(dtype)


class CrossAttention(nn.Module):
    """Tokens `b t s d` attend to text `b l d`."""

    attends_to_text = True

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.q = nn.Linear(config.width, config.width)
        self.kv = nn.Linear(config.width, 2 * config.width)
        self.q_norm = HeadNorm(config.head_width)
        self.k_norm = HeadNorm(config.head_width)
        self.out = nn.Linear(config.width, config.width)
        self.backend = "sdpa"

    def forward(self, x: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        """Attend to text `b l d` where `text_mask` `b l` is True."""
        t, s = x.shape[1:3]
        q = rearrange(self.q(x), "b t s (n k) -> b n (t s) k", n=self.num_heads)
        k, v = (
            rearrange(part, "b l (n k) -> b n l k", n=self.num_heads)
            for part in self.kv(text).chunk(2, dim=-1)
        )
        mask = text_mask[:, None, None, :]
        mixed = attention(self.q_norm(q), self.k_norm(k), v, mask, backend=self.backend)
        return self.out(rearrange(mixed, "b n (t s) k -> b t s (n k)", t=t, s=s))


class MLP(nn.Module):
    """Two linear layers around a GELU."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        inner = int(config.width * config.mlp_ratio)
        self.rise = nn.Linear(config.width, inner)
        self.out = nn.Linear(inner, config.width)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(through_gelu(self.rise, x, "tanh"))


class Modulated(nn.Module):
    """adaLN-zero around a sub-layer: shift and scale its input, gate its output.

    Shift, scale and gate come from the conditioning of each frame, so that frames of one clip
    may stand at different noise levels (DiT, Peebles & Xie 2023, section 3.2).
    """

    def __init__(self, width: int, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.modulation = nn.Linear(width, 3 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, condition: Tensor, *args: object) -> Tensor:
        """Tokens `b t s d` with a `condition` `b t d`; `args` go on to the sub-layer."""
        shift, scale, gate = self.modulation(condition)[:, :, None].chunk(3, dim=-1)
        normed = F.layer_norm(x, x.shape[-1:])
        return x + gate * self.inner(normed * (1 + scale) + shift, *args)


class Block(nn.Module):
    """Self-attention along the axes of the attention kind, cross-attention to text, MLP."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        axes: list[Axis] = ["space", "time"] if config.attention == "factorized" else ["spacetime"]
        self.self_attentions = nn.ModuleList(
            Modulated(config.width, SelfAttention(config, axis)) for axis in axes
        )
        self.cross_attention = CrossAttention(config)
        self.mlp = Modulated(config.width, MLP(config))
        self.causal = config.causal

    def forward(
        self,
        x: Tensor,
        condition: Tensor,
        text: Tensor,
        text_mask: Tensor,
        angles: Tensor,
        mask: Tensor | None,
        past: Past | None = None,
    ) -> Tensor:
        """Tokens `b t s d`, condition `b t d`, text `b l d`; `mask` `q k` for joint attention."""
        for layer in self.self_attentions:
            if layer.inner.axis == "time":  # pyright: ignore[reportAttributeAccessIssue]
                x = layer(x, condition, angles, mask, self.causal, past)
            else:
                x = layer(x, condition, angles, mask)
        x = x + self.cross_attention(F.layer_norm(x, x.shape[-1:]), text, text_mask)
        return self.mlp(x, condition)
