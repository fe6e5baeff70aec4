"""The spacetime diffusion transformer: patchify, blocks, unpatchify (Peebles & Xie 2023).

The timestep is per latent frame, so one set of weights denoises whole clips, extends clips from
clean frames, and rolls frames out one after the other (diffusion forcing, Chen et al. 2024).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.errors import ConfigError, InvalidRequestError
from videogen.models.blocks import Block, CrossAttention, SelfAttention
from videogen.models.config import DiTConfig
from videogen.models.detail import DetailStage
from videogen.models.embeddings import TimestepEmbedding, patchify, unpatchify
from videogen.models.kv_cache import KVCache, Past
from videogen.models.layout import Layout, Stream
from videogen.models.rope import rope_angles
from videogen.models.stages import Observe, read_out, through, zero
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
        zero(self.modulation, self.head)
        fine = config.detail
        self.detail = None if fine is None else DetailStage(config, fine)

    def forward(
        self,
        latents: Tensor,
        timesteps: Tensor,
        text: TextEmbedding,
        first_frame: int = 0,
        trained_frames: int | None = None,
        cache: KVCache | None = None,
        observe: Observe | None = None,
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
            observe: told the number of every block at patches and its tokens, `b t s d`.

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
        frames = torch.arange(first_frame, first_frame + latents.shape[2], device=latents.device)
        whole = self._stream(latents, timesteps, text, frames, trained_frames)
        stream, mask = self._scattered(whole)
        detail = self.detail
        pasts = self._pasts(cache, latents, self.config)
        fine_pasts = None if detail is None else self._pasts(cache, latents, detail.config)
        x = through(self.blocks, self.embed(stream.patches), stream, mask, pasts, observe)
        patches = read_out(x, stream.condition, self.modulation, self.head)
        prediction = unpatchify(self.layout.gather(patches), self.config.patch, h // p)
        if detail is None:
            return prediction
        handed_down = self.layout.gather(detail.handed_down(x))
        angles = _angles(frames, latents, trained_frames, detail.config)
        cells, mask = self._scattered(detail.stream(whole, latents, handed_down, angles))
        correction = self.layout.gather(detail(cells, mask, fine_pasts))
        return prediction + unpatchify(correction, detail.config.patch, h)

    def set_attention_backend(self, backend: str) -> None:
        """Use another attention kernel (see `videogen.models.attention`) in every layer."""
        for module in self.modules():
            if isinstance(module, SelfAttention | CrossAttention):
                module.backend = backend

    def _scattered(self, whole: Stream) -> tuple[Stream, Tensor | None]:
        """The tokens to work on, and which of them sees which."""
        stream = self.layout.scatter(whole)
        return stream, self.layout.token_mask(stream)

    def _stream(
        self,
        latents: Tensor,
        timesteps: Tensor,
        text: TextEmbedding,
        frames: Tensor,
        trained_frames: int | None,
    ) -> Stream:
        t = latents.shape[2]
        return Stream(
            patches=patchify(latents, self.config.patch),
            condition=self._condition(timesteps, text, t),
            angles=_angles(frames, latents, trained_frames, self.config),
            text=self.text_tokens(text.tokens),
            text_mask=text.mask,
            mask=self._mask(t, latents.device),
        )

    def _pasts(self, cache: KVCache | None, latents: Tensor, stage: DiTConfig) -> list[Past] | None:
        """What the temporal attention of each block of a stage has seen before."""
        if cache is None:
            return None
        first = 0 if stage is self.config else self.config.depth
        frames = torch.arange(cache.num_frames + latents.shape[2], device=latents.device)
        angles = _angles(frames, latents, None, stage)
        layers = cache.layers[first : first + stage.depth]
        return [Past(cache, layer, angles) for layer in layers]

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


def _angles(
    frames: Tensor, latents: Tensor, trained_frames: int | None, stage: DiTConfig
) -> Tensor:
    """RoPE angles `t s k` of the tokens of a stage."""
    _, p, q = stage.patch
    h, w = latents.shape[-2:]
    stretch = None if trained_frames is None else (trained_frames, len(frames))
    return rope_angles(frames, h // p, w // q, stage.head_width, stage.rope_theta, stretch=stretch)


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
