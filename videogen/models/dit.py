"""The spacetime diffusion transformer: patchify, blocks, unpatchify (Peebles & Xie 2023).

The timestep is per latent frame, so one set of weights denoises whole clips, extends clips from
clean frames, and rolls frames out one after the other (diffusion forcing, Chen et al. 2024).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.errors import ConfigError, InvalidRequestError
from videogen.models.blocks import Block, CrossAttention, SelfAttention
from videogen.models.config import DiTConfig
from videogen.models.embeddings import TimestepEmbedding, patchify, unpatchify
from videogen.models.kv_cache import KVCache, Past
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
        trained_frames: int | None = None,
        cache: KVCache | None = None,
        observe: Callable[[int, Tensor], None] | None = None,
    ) -> Tensor:
        """Predict for noisy latents.

        Args:
            latents: `b c t h w`, h and w divisible by the patch.
            timesteps: in [0, 1000], `b t` for a noise level per latent frame, or `b`.
            text: encoded prompts, batch b.
            first_frame: position in time of the first latent frame.
            trained_frames: latent frames of the clips it was trained on, if these are more: slows
                one frequency of the position embedding down, see `stretched`.
            cache: keys and values of the frames before these, of a factorized causal model at
                b = 1; these are kept as well where it is writing.
            observe: told the number of every block and its tokens, `b t s c`.

        Returns:
            The prediction, `b c t h w`.

        Raises:
            InvalidRequestError: h or w is not divisible by the patch.
            ConfigError: a cache, but the model is not causal, not factorized, or sharded.
        """
        _, p, q = self.config.patch
        h, w = latents.shape[-2:]
        _check_divisible(h, w, p, q)
        if cache is not None:
            check_cacheable(self)
            first_frame += cache.num_frames
        whole = self._stream(latents, timesteps, text, first_frame, trained_frames)
        stream = self.layout.scatter(whole)
        patches = self.layout.gather(self._transform(stream, self._pasts(cache, latents), observe))
        return unpatchify(patches, self.config.patch, h // p)

    def set_attention_backend(self, backend: str) -> None:
        """Use another attention kernel (see `videogen.models.attention`) in every layer."""
        for module in self.modules():
            if isinstance(module, SelfAttention | CrossAttention):
                module.backend = backend

    def _stream(
        self,
        latents: Tensor,
        timesteps: Tensor,
        text: TextEmbedding,
        first_frame: int,
        trained_frames: int | None,
    ) -> Stream:
        t = latents.shape[2]
        frames = torch.arange(first_frame, first_frame + t, device=latents.device)
        return Stream(
            patches=patchify(latents, self.config.patch),
            condition=self._condition(timesteps, text, t),
            angles=self._angles(frames, latents, trained_frames),
            text=self.text_tokens(text.tokens),
            text_mask=text.mask,
            mask=self._mask(t, latents.device),
        )

    def _angles(self, frames: Tensor, latents: Tensor, trained_frames: int | None) -> Tensor:
        config, (_, p, q) = self.config, self.config.patch
        h, w = latents.shape[-2:]
        stretch = None if trained_frames is None else (trained_frames, len(frames))
        return rope_angles(
            frames, h // p, w // q, config.head_width, config.rope_theta, stretch=stretch
        )

    def _pasts(self, cache: KVCache | None, latents: Tensor) -> list[Past] | None:
        """What each block's temporal attention has seen before."""
        if cache is None:
            return None
        frames = torch.arange(cache.num_frames + latents.shape[2], device=latents.device)
        angles = self._angles(frames, latents, None)
        return [Past(cache, layer, angles) for layer in cache.layers]

    def _transform(
        self,
        stream: Stream,
        pasts: list[Past] | None = None,
        observe: Callable[[int, Tensor], None] | None = None,
    ) -> Tensor:
        """Patches of noisy latents to patches of the prediction, `b t s c`."""
        condition, mask = stream.condition, self.layout.token_mask(stream)
        x = self.embed(stream.patches)
        for index, block in enumerate(self.blocks):
            past = None if pasts is None else pasts[index]
            x = block(x, condition, stream.text, stream.text_mask, stream.angles, mask, past)
            if observe is not None:
                observe(index, x)
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


def check_cacheable(model: SpacetimeDiT) -> None:
    """Raise unless what a model has seen of a clip can be kept.

    Raises:
        ConfigError: it is not causal, not factorized, or its tokens are divided among ranks.
    """
    config = model.config
    if not config.causal or config.attention != "factorized":
        raise ConfigError(
            f"cache: got a model with causal {config.causal} and {config.attention} attention, "
            "expected causal and factorized. Fix: use extension 'overlap'."
        )
    if type(model.layout) is not Layout:
        raise ConfigError(
            "cache: got a model whose tokens are divided among ranks, expected a whole one. "
            "Fix: use seq_degree 1, or extension 'overlap'."
        )


def _check_divisible(h: int, w: int, p: int, q: int) -> None:
    if h % p or w % q:
        raise InvalidRequestError(
            f"latents: got {h}x{w} cells, expected multiples of the patch {p}x{q}. "
            f"Fix: use {h - h % p}x{w - w % q} or {h + -h % p}x{w + -w % q}."
        )
