"""The Latte blocks: attention within a frame and to text, or across frames, then an MLP."""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn

from videogen.models.attention import attention
from videogen.models.blocks import Axis
from videogen.models.latte.config import LatteConfig
from videogen.models.sublayers import FeedForward, modulated
from videogen.models.told import KeysAndValues, Told

_FOLDS = {
    "space": ("b t s (n k) -> (b t) n s k", "(b t) n s k -> b t s (n k)"),
    "time": ("b t s (n k) -> (b s) n t k", "(b s) n t k -> b t s (n k)"),
}


class _Attention(nn.Module):
    """Projections of queries, keys and values."""

    def __init__(self, config: LatteConfig) -> None:
        super().__init__()
        d, bias = config.width, config.attention_bias
        self.num_heads = config.num_attention_heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(d, d, bias=bias) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(d, d)])
        self.backend = "sdpa"


class LatteSelfAttention(_Attention):
    """Attention of tokens `b t s d` along one axis."""

    def __init__(self, config: LatteConfig, axis: Axis) -> None:
        super().__init__(config)
        self.axis = axis
        self.attend: Callable[..., Tensor] = attention

    def forward(self, x: Tensor) -> Tensor:
        """Attend along this axis."""
        fold, unfold = _FOLDS[self.axis]
        q, k, v = (
            rearrange(project(x), fold, n=self.num_heads)
            for project in (self.to_q, self.to_k, self.to_v)
        )
        b, t, s, _ = x.shape
        mixed = self.attend(q, k, v, backend=self.backend)
        return self.to_out[0](rearrange(mixed, unfold, b=b, t=t, s=s))


class LatteCrossAttention(_Attention):
    """Tokens `b t s d` attend to text."""

    attends_to_text = True

    def forward(self, x: Tensor, text: Told, text_mask: Tensor | None) -> Tensor:
        """Attend to text where `text_mask`, bool `b l`, is True; everywhere without."""
        t, s = x.shape[1:3]
        q = rearrange(self.to_q(x), "b t s (n k) -> b n (t s) k", n=self.num_heads)
        k, v = text.keys_and_values(self, self._keys_and_values)
        mask = None if text_mask is None else text_mask[:, None, None, :]
        mixed = attention(q, k, v, mask, backend=self.backend)
        return self.to_out[0](rearrange(mixed, "b n (t s) k -> b t s (n k)", t=t, s=s))

    def _keys_and_values(self, text: Tensor) -> KeysAndValues:
        k, v = (
            rearrange(project(text), "b l (n k) -> b n l k", n=self.num_heads).contiguous()
            for project in (self.to_k, self.to_v)
        )
        return k, v


class LatteBlock(nn.Module):
    """Self-attention along one axis, attention to text where that is space, MLP."""

    def __init__(self, config: LatteConfig, axis: Axis) -> None:
        super().__init__()
        d = config.width
        self.eps = config.norm_eps
        self.attn1 = LatteSelfAttention(config, axis)
        self.attn2 = LatteCrossAttention(config) if axis == "space" else None
        self.ff = FeedForward(d, 4 * d)
        self.scale_shift_table = nn.Parameter(torch.randn(6, d) / d**0.5)

    def forward(
        self, x: Tensor, modulation: Tensor, text: Told, text_mask: Tensor | None
    ) -> Tensor:
        """Tokens `b t s d`; `modulation` `b t 6 d`, from the timestep of each frame."""
        table = (self.scale_shift_table + modulation)[:, :, None]
        shift, scale, gate, late_shift, late_scale, late_gate = table.unbind(3)
        x = torch.addcmul(x, gate, self.attn1(modulated(x, shift, scale, self.eps)))
        if self.attn2 is not None:
            x = x + self.attn2(x, text, text_mask)
        return torch.addcmul(x, late_gate, self.ff(modulated(x, late_shift, late_scale, self.eps)))
