"""What `transformer/config.json` of a Latte folder says, and the size that was published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from videogen.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class LatteConfig:
    """The Latte transformer; fields are called as in the published `config.json`."""

    num_attention_heads: int = 16
    attention_head_dim: int = 72
    in_channels: int = 4
    out_channels: int | None = 8
    """Twice the latent channels where a variance was learned too, which sampling leaves out."""
    num_layers: int = 28
    """Of each kind: a block along space, then one along time."""
    dropout: float = 0.0
    cross_attention_dim: int = 1152
    attention_bias: bool = True
    sample_size: int = 64
    """Latent cells per side of the pictures it was trained on."""
    patch_size: int = 2
    activation_fn: Literal["gelu-approximate"] = "gelu-approximate"
    num_embeds_ada_norm: int | None = 1000
    norm_type: Literal["ada_norm_single"] = "ada_norm_single"
    norm_elementwise_affine: Literal[False] = False
    norm_eps: float = 1e-6
    caption_channels: int = 4096
    video_length: int = 16

    def __post_init__(self) -> None:
        if self.cross_attention_dim != self.width:
            raise ConfigError(
                f"cross_attention_dim: got {self.cross_attention_dim}, expected {self.width}, the "
                "width of the model. Fix: take config.json from the folder of the weights."
            )
        if self.width % 4:
            raise ConfigError(
                f"attention_head_dim: got a width of {self.width}, expected a multiple of 4, "
                "because positions along two axes are sines and cosines."
            )

    @property
    def width(self) -> int:
        """Of the tokens."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def patch(self) -> tuple[int, int, int]:
        """Latent cells per token along t, h, w."""
        return 1, self.patch_size, self.patch_size

    @property
    def num_heads(self) -> int:
        return self.num_attention_heads

    @property
    def head_width(self) -> int:
        return self.attention_head_dim

    @property
    def depth(self) -> int:
        """Pairs of blocks, along space and along time."""
        return self.num_layers

    @property
    def attention(self) -> Literal["factorized"]:
        """Which tokens attend to which; see `DiTConfig`."""
        return "factorized"

    @property
    def base_size(self) -> int:
        """Tokens per side of the pictures it was trained on."""
        return self.sample_size // self.patch_size

    @property
    def position_scale(self) -> int:
        """How far positions are pressed together for large pictures."""
        return max(1, self.sample_size // 64)


LATTE_1 = LatteConfig()
