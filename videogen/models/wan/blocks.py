"""The Wan block: attention over space and time at once, attention to text and image, MLP.

Norms and modulation are computed in float32 whatever the weights are in (2503.20314, section 4.2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from videogen.models.attention import attention, attention_to_counted
from videogen.models.blocks import Axis
from videogen.models.rope import rotate_neighbours
from videogen.models.sublayers import FeedForward, modulated
from videogen.models.told import KeysAndValues, Told
from videogen.models.wan.config import WanConfig

Rotations = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class WanContext:
    """What the tokens of a clip attend to."""

    text: Told
    """Padding included: the model was trained to see it."""
    image: Tensor | None
    """`b m d`, or None for a text-to-video model."""


class _Attention(nn.Module):
    """Projections of queries, keys and values, normed over all heads together."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        d = config.width
        self.num_heads = config.num_attention_heads
        self.to_q, self.to_k, self.to_v = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.to_out = nn.ModuleList([nn.Linear(d, d)])
        self.norm_q = nn.RMSNorm(d, eps=config.eps)
        self.norm_k = nn.RMSNorm(d, eps=config.eps)
        self.backend = "sdpa"

    def _heads(self, x: Tensor) -> Tensor:
        return rearrange(x, "b l (n k) -> b n l k", n=self.num_heads)


class WanSelfAttention(_Attention):
    """Attention among all tokens of a clip, with RoPE over pairs of neighbours."""

    axis: Axis = "spacetime"

    def __init__(self, config: WanConfig) -> None:
        super().__init__(config)
        self.attend: Callable[..., Tensor] = attention

    def forward(self, x: Tensor, rotations: Rotations) -> Tensor:
        """Tokens `b t s d`; `rotations` are cosines and sines `(t s) k`, float32."""
        t, s = x.shape[1:3]
        tokens = x.flatten(1, 2)
        q = rotate_neighbours(self._heads(self.norm_q(self.to_q(tokens))), *rotations).to(x.dtype)
        k = rotate_neighbours(self._heads(self.norm_k(self.to_k(tokens))), *rotations).to(x.dtype)
        v = self._heads(self.to_v(tokens))
        mixed = self.attend(q, k, v, None, causal=False, backend=self.backend)
        return self.to_out[0](rearrange(mixed, "b n (t s) k -> b t s (n k)", t=t, s=s))


class WanCrossAttention(_Attention):
    """Attention to text and, added to it, attention to an image."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__(config)
        self.has_image = config.added_kv_proj_dim is not None
        if config.added_kv_proj_dim is not None:
            self.add_k_proj = nn.Linear(config.added_kv_proj_dim, config.width)
            self.add_v_proj = nn.Linear(config.added_kv_proj_dim, config.width)
            self.norm_added_k = nn.RMSNorm(config.width, eps=config.eps)

    def forward(self, x: Tensor, context: WanContext) -> Tensor:
        """Tokens `b t s d`."""
        t, s = x.shape[1:3]
        q = self._heads(self.norm_q(self.to_q(x.flatten(1, 2))))
        mixed = self._attend_to_text(q, context.text)
        if self.has_image and context.image is not None:
            k, v = self.norm_added_k(self.add_k_proj(context.image)), self.add_v_proj(context.image)
            mixed = mixed + attention(q, self._heads(k), self._heads(v), backend=self.backend)
        return self.to_out[0](rearrange(mixed, "b n (t s) k -> b t s (n k)", t=t, s=s))

    def _attend_to_text(self, q: Tensor, text: Told) -> Tensor:
        k, v = text.keys_and_values(self, self._keys_and_values)
        if text.counts is None:
            return attention(q, k, v, backend=self.backend)
        return attention_to_counted(q, k, v, text.counts)

    def _keys_and_values(self, text: Tensor) -> KeysAndValues:
        k, v = self.norm_k(self.to_k(text)), self.to_v(text)
        return self._heads(k).contiguous(), self._heads(v).contiguous()


class WanBlock(nn.Module):
    """Self-attention, cross-attention, MLP; the first and the last shifted, scaled and gated."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        d = config.width
        self.eps = config.eps
        self.attn1 = WanSelfAttention(config)
        self.attn2 = WanCrossAttention(config)
        self.norm2 = nn.LayerNorm(d, config.eps) if config.cross_attn_norm else nn.Identity()
        self.ffn = FeedForward(d, config.ffn_dim)
        self.scale_shift_table = nn.Parameter(torch.randn(1, 6, d) / d**0.5)

    def forward(
        self, x: Tensor, modulation: Tensor, context: WanContext, rotations: Rotations
    ) -> Tensor:
        """Tokens `b t s d`; `modulation` `b t 6 d`, from the timestep of each frame."""
        table = self.scale_shift_table + modulation.float()
        shift, scale, gate, late_shift, late_scale, late_gate = table[:, :, None].unbind(3)
        mixed = self.attn1(modulated(x, shift, scale, self.eps), rotations)
        x = torch.addcmul(x.float(), mixed, gate).to(x.dtype)
        x = x + self.attn2(self.norm2(x.float()).to(x.dtype), context)
        risen = self.ffn(modulated(x, late_shift, late_scale, self.eps))
        return torch.addcmul(x.float(), risen.float(), late_gate).to(x.dtype)
