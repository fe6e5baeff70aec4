"""The Wan video transformer (2503.20314, section 4.2): patchify, blocks, unpatchify."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.errors import InvalidRequestError
from videogen.models.embeddings import patchify
from videogen.models.layout import Layout, Stream
from videogen.models.rope import rope_angles
from videogen.models.sublayers import modulated
from videogen.models.text import TextEmbedding
from videogen.models.told import Prompts, Told
from videogen.models.wan.blocks import (
    WanBlock,
    WanContext,
    WanCrossAttention,
    WanSelfAttention,
)
from videogen.models.wan.config import WanConfig
from videogen.models.wan.embeddings import WanConditions

THETA = 10000.0
FLOAT32_PARTS = ("time_embedder", "scale_shift_table", "norm1", "norm2", "norm3")
"""Parts of parameter names that stay in float32 whatever dtype the model is loaded in."""


@dataclass(frozen=True)
class KnownFrames:
    """What a clip of an image-to-video model starts from, and if wanted ends with."""

    latents: Tensor
    """`b c t h w`: mask and encoded first frame, concatenated behind the noisy latents."""
    tokens: Tensor | None
    """CLIP tokens `b m c`, for models that take them."""


class WanTransformer(nn.Module):
    """Predicts the velocity `noise - data` of noisy latents."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.config = config
        self.layout = Layout()
        self.prompts = Prompts()
        d, (_, p, q) = config.width, config.patch_size
        self.patch_embedding = nn.Conv3d(config.in_channels, d, (1, p, q), (1, p, q))
        self.condition_embedder = WanConditions(config)
        self.blocks = nn.ModuleList(WanBlock(config) for _ in range(config.num_layers))
        self.proj_out = nn.Linear(d, config.out_channels * p * q)
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, d) / d**0.5)

    def forward(
        self,
        latents: Tensor,
        timesteps: Tensor,
        text: TextEmbedding,
        known: KnownFrames | None = None,
        trained_frames: int | None = None,
    ) -> Tensor:
        """Predict for noisy latents.

        Args:
            latents: `b c t h w`, h and w divisible by the patch; any dtype, kept in the result.
            timesteps: in [0, 1000], `b t` for a noise level per latent frame, or `b`.
            text: encoded prompts, batch b, padded with zeros to the length that the model was
                trained with (512); its mask is not used, as in training.
            known: for image-to-video models.
            trained_frames: latent frames that the model was trained on; RoPE is stretched over
                more than these, see `videogen.models.rope.stretched`.

        Returns:
            The prediction, `b c t h w`.

        Raises:
            InvalidRequestError: h or w is not divisible by the patch, or a first frame is missing
                or not wanted.
        """
        config = self.config
        _check_latents(latents, config, known)
        if known is not None:
            latents = torch.cat([latents, known.latents.to(latents.dtype)], dim=1)
        told = self._tell(text)
        stream = self._stream(latents, timesteps, text, told.tokens, trained_frames)
        stream = self.layout.scatter(stream)
        tokens = None if known is None else known.tokens
        patches = self.layout.gather(self._transform(stream, told, tokens))
        _, p, q = config.patch_size
        height = latents.shape[-2] // p
        pixels = rearrange(patches, "b t (h w) (p q c) -> b c t (h p) (w q)", h=height, p=p, q=q)
        return pixels.to(latents.dtype).contiguous()

    def set_attention_backend(self, backend: str) -> None:
        """Use another attention kernel (see `videogen.models.attention`) in every layer."""
        for module in self.modules():
            if isinstance(module, WanSelfAttention | WanCrossAttention):
                module.backend = backend

    def _tell(self, text: TextEmbedding) -> Told:
        dtype = self.proj_out.weight.dtype
        project = self.condition_embedder.text_embedder
        return self.prompts.tell(text, lambda tokens: project(tokens.to(dtype)), folds=True)

    def _stream(
        self,
        latents: Tensor,
        timesteps: Tensor,
        text: TextEmbedding,
        told: Tensor,
        trained_frames: int | None,
    ) -> Stream:
        b, _, t, h, w = latents.shape
        stretch = None if trained_frames is None else (trained_frames, t)
        config, (_, p, q) = self.config, self.config.patch_size
        frames = torch.arange(t, device=latents.device)
        per_frame = timesteps[:, None] if timesteps.ndim == 1 else timesteps
        dtype = self.proj_out.weight.dtype
        time = self.condition_embedder.time(per_frame, dtype)
        return Stream(
            patches=patchify(latents.to(dtype), config.patch_size),
            condition=time.expand(b, t, -1),
            angles=rope_angles(
                frames,
                h // p,
                w // q,
                config.attention_head_dim,
                THETA,
                _angle_dtype(latents),
                stretch,
            ),
            text=told,
            text_mask=text.mask,
            mask=None,
        )

    def _transform(self, stream: Stream, text: Told, image_tokens: Tensor | None) -> Tensor:
        """Patches of noisy latents to patches of the prediction, `b t s c`."""
        embed, conditions = self.patch_embedding, self.condition_embedder
        x = F.linear(stream.patches, embed.weight.flatten(1), embed.bias)
        angles = stream.angles.flatten(0, 1)
        rotations = angles.cos().float(), angles.sin().float()
        modulation = conditions.modulation(stream.condition)
        image = None
        if image_tokens is not None and conditions.image_embedder is not None:
            image = conditions.image_embedder(image_tokens.to(x.dtype))
        context = WanContext(text, image)
        for block in self.blocks:
            x = block(x, modulation, context, rotations)
        table = self.scale_shift_table + stream.condition.float()[:, :, None]
        shift, scale = table[:, :, None].unbind(3)
        return self.proj_out(modulated(x, shift, scale, self.config.eps))


def _angle_dtype(latents: Tensor) -> torch.dtype:
    """Float64 where there is any: far along an axis, float32 rounds what pairs see."""
    return torch.float32 if latents.device.type == "mps" else torch.float64


def _check_latents(latents: Tensor, config: WanConfig, known: KnownFrames | None) -> None:
    h, w = latents.shape[-2:]
    _, p, q = config.patch_size
    if h % p or w % q:
        raise InvalidRequestError(
            f"latents: got {h}x{w} cells, expected multiples of the patch {p}x{q}. "
            f"Fix: use {h - h % p}x{w - w % q} or {h + -h % p}x{w + -w % q}."
        )
    if bool(config.condition_channels) != (known is not None):
        got, expected = ("none", "one") if known is None else ("one", "none")
        raise InvalidRequestError(
            f"first frame: got {got}, expected {expected}, because the model takes "
            f"{config.in_channels} channels. Fix: use an image-to-video model with an image, "
            "a text-to-video model without."
        )
    if config.image_dim is not None and known is not None and known.tokens is None:
        raise InvalidRequestError(
            "first frame: got no image tokens, expected those of the CLIP image encoder. "
            "Fix: encode the picture with the image_encoder of the model's folder."
        )
