"""The spacetime diffusion transformer: patchify, blocks, unpatchify (Peebles & Xie 2023).

The timestep is per latent frame, so one set of weights denoises whole clips, extends clips from
clean frames, and rolls frames out one after the other (diffusion forcing, Chen et al. 2024).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.errors import InvalidRequestError
from videogen.models.blocks import Block, CrossAttention, SelfAttention
from videogen.models.config import DiTConfig
from videogen.models.embeddings import TimestepEmbedding, patchify, unpatchify
from videogen.models.layout import Layout, Stream
from videogen.models.rope import rope_angles
from videogen.models.text import TextEmbedding


class SpacetimeDiT(nn.Module):
    """Predicts the training target (velocity, noise, …) of noisy latents."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        self.layout = Layout()
        cell = config.in_channels * config.patch[1] * config.patch[2]
        self.embed = nn.Linear(cell, config.width)
        self.timestep = TimestepEmbedding(config.width)
        self.text_tokens = nn.Linear(config.text_width, config.width)
        self.text_pooled = nn.Linear(config.text_width, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.modulation = nn.Linear(config.width, 2 * config.width)
        self.head = nn.Linear(config.width, cell)
        for layer in (self.modulation, self.head):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        latents: Tensor,
        timesteps: Tensor,
        text: TextEmbedding,
        first_frame: int = 0,
    ) -> Tensor:
        """Predict for noisy latents.

        Args:
            latents: `b c t h w`, h and w divisible by the patch.
            timesteps: in [0, 1000], `b t` for a noise level per latent frame, or `b`.
            text: encoded prompts, batch b.
            first_frame: position in time of the first latent frame.

        Returns:
            The prediction, `b c t h w`.

        Raises:
            InvalidRequestError: h or w is not divisible by the patch.
        """
        _, p, q = self.config.patch
        h, w = latents.shape[-2:]
        _check_divisible(h, w, p, q)
        stream = self.layout.scatter(self._stream(latents, timesteps, text, first_frame))
        patches = self.layout.gather(self._transform(stream))
        return unpatchify(patches, self.config.patch, h // p)

    def set_attention_backend(self, backend: str) -> None:
        """Use another attention kernel (see `videogen.models.attention`) in every layer."""
        for module in self.modules():
            if isinstance(module, SelfAttention | CrossAttention):
                module.backend = backend

    def _stream(
        self, latents: Tensor, timesteps: Tensor, text: TextEmbedding, first_frame: int
    ) -> Stream:
        _, _, t, h, w = latents.shape
        config, (_, p, q) = self.config, self.config.patch
        frames = torch.arange(first_frame, first_frame + t, device=latents.device)
        patches = patchify(latents, config.patch)
        return Stream(
            patches=patches,
            condition=self._condition(timesteps, text, t),
            angles=rope_angles(frames, h // p, w // q, config.head_width, config.rope_theta),
            text=self.text_tokens(text.tokens),
            text_mask=text.mask,
            mask=self._mask(t, latents.device),
        )

    def _transform(self, stream: Stream) -> Tensor:
        """Patches of noisy latents to patches of the prediction, `b t s c`."""
        condition, mask = stream.condition, self.layout.token_mask(stream)
        x = self.embed(stream.patches)
        for block in self.blocks:
            x = block(x, condition, stream.text, stream.text_mask, stream.angles, mask)
        shift, scale = self.modulation(condition)[:, :, None].chunk(2, dim=-1)
        return self.head(F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift)

    def _condition(self, timesteps: Tensor, text: TextEmbedding, t: int) -> Tensor:
        per_frame = timesteps[:, None].expand(-1, t) if timesteps.ndim == 1 else timesteps
        vector = self.timestep(per_frame) + self.text_pooled(text.pooled)[:, None]
        return F.silu(vector)

    def _mask(self, t: int, device: torch.device) -> Tensor | None:
        """Which frame sees which in joint and windowed attention, bool `t t`."""
        config = self.config
        windowed = config.attention == "windowed"
        if config.attention == "factorized" or not (windowed or config.causal):
            return None
        frame = torch.arange(t, device=device)
        distance = frame[:, None] - frame[None, :]
        seen = distance.abs() <= config.window if windowed else torch.ones_like(distance).bool()
        if config.causal:
            seen &= distance >= 0
        return seen


def _check_divisible(h: int, w: int, p: int, q: int) -> None:
    if h % p or w % q:
        raise InvalidRequestError(
            f"latents: got {h}x{w} cells, expected multiples of the patch {p}x{q}. "
            f"Fix: use {h - h % p}x{w - w % q} or {h + -h % p}x{w + -w % q}."
        )
