"""What `transformer/config.json` of a Wan folder says, and the sizes that were published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from videogen.errors import ConfigError

CLIP_TOKENS = 257
"""Tokens of a picture of the CLIP image encoder that was published: 16 x 16 and one more."""


@dataclass(frozen=True, kw_only=True)
class WanConfig:
    """The Wan transformer; fields are called as in the published `config.json`."""

    patch_size: tuple[int, int, int] = (1, 2, 2)
    """Latent cells per token along t, h, w."""
    num_attention_heads: int = 40
    attention_head_dim: int = 128
    in_channels: int = 16
    """16 latent channels; 36 where a first frame is given (4 of mask and 16 of latents more)."""
    out_channels: int = 16
    text_dim: int = 4096
    freq_dim: int = 256
    """Width of the sinusoids of the timestep."""
    ffn_dim: int = 13824
    num_layers: int = 40
    cross_attn_norm: bool = True
    qk_norm: Literal["rms_norm_across_heads"] = "rms_norm_across_heads"
    eps: float = 1e-6
    image_dim: int | None = None
    """Width of the CLIP image tokens; None where the model takes none."""
    added_kv_proj_dim: int | None = None
    """Width of the image tokens as cross-attention takes them; the model's width, or None."""
    rope_max_seq_len: int = 1024
    """Tokens along any axis that the position table of the reference has room for."""
    pos_embed_seq_len: int | None = None
    """Image tokens with learned positions (first and last frame); None: without positions."""

    def __post_init__(self) -> None:
        if self.patch_size[0] != 1:
            raise ConfigError(
                f"patch_size: got {self.patch_size}, expected 1 along t, because the timestep is "
                "per latent frame."
            )
        if self.attention_head_dim % 2 or self.freq_dim % 2:
            raise ConfigError(
                f"attention_head_dim: got {self.attention_head_dim} and freq_dim {self.freq_dim}, "
                "expected even numbers, because both are turned in pairs."
            )
        if (self.image_dim is None) != (self.added_kv_proj_dim is None):
            raise ConfigError(
                f"image_dim: got {self.image_dim} with added_kv_proj_dim {self.added_kv_proj_dim}, "
                "expected both or neither. Fix: take config.json from the folder of the weights."
            )
        if self.added_kv_proj_dim not in (None, self.width):
            raise ConfigError(
                f"added_kv_proj_dim: got {self.added_kv_proj_dim}, expected {self.width}, the "
                "width of the model. Fix: take config.json from the folder of the weights."
            )

    @property
    def width(self) -> int:
        """Of the tokens."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def patch(self) -> tuple[int, int, int]:
        """Latent cells per token along t, h, w."""
        return self.patch_size

    @property
    def num_heads(self) -> int:
        return self.num_attention_heads

    @property
    def head_width(self) -> int:
        return self.attention_head_dim

    @property
    def depth(self) -> int:
        """Blocks, each with attention among all tokens of a clip."""
        return self.num_layers

    @property
    def attention(self) -> Literal["joint"]:
        """Which tokens attend to which; see `DiTConfig`."""
        return "joint"

    @property
    def num_image_tokens(self) -> int:
        """CLIP tokens that are attended to: those of one picture, or of a first and a last one."""
        return 0 if self.image_dim is None else self.pos_embed_seq_len or CLIP_TOKENS

    @property
    def condition_channels(self) -> int:
        """Channels of the first-frame condition that stand behind those of the latents."""
        return self.in_channels - self.out_channels


WAN_T2V_1_3B = WanConfig(num_attention_heads=12, num_layers=30, ffn_dim=8960)
WAN_T2V_14B = WanConfig()
WAN_I2V_14B = WanConfig(in_channels=36, image_dim=1280, added_kv_proj_dim=5120)
"""Both I2V-14B folders, 480P and 720P."""
