"""The Latte video transformer, variant 1 (2401.03048, section 3.1): space, then time, in turn."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.errors import InvalidRequestError
from videogen.models.embeddings import patchify, sinusoids
from videogen.models.latte.blocks import LatteBlock, LatteCrossAttention, LatteSelfAttention
from videogen.models.latte.config import LatteConfig
from videogen.models.latte.positions import spatial_positions, temporal_positions
from videogen.models.layout import Layout, Stream
from videogen.models.sublayers import TextProjection, TimeMLP, modulated
from videogen.models.text import TextEmbedding
from videogen.models.told import Prompts, Told

TIMESTEP_WIDTH = 256
OUT_EPS = 1e-6


class _TimestepEmbedding(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.timestep_embedder = TimeMLP(TIMESTEP_WIDTH, width)


class TimeModulation(nn.Module):
    """Timesteps to vectors, and those to what modulates all blocks (PixArt-α, 2310.00426, 2.3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.emb = _TimestepEmbedding(width)
        self.linear = nn.Linear(width, 6 * width)

    def time(self, timesteps: Tensor) -> Tensor:
        """Timesteps `b t` to vectors `b t d`."""
        embedder = self.emb.timestep_embedder
        waves = sinusoids(timesteps, TIMESTEP_WIDTH).to(embedder.linear_1.weight.dtype)
        return embedder(waves)

    def forward(self, time: Tensor) -> Tensor:
        """Vectors `b t d` to modulations `b t 6 d`."""
        return self.linear(F.silu(time)).unflatten(-1, (6, -1))


class _PatchEmbedding(nn.Module):
    def __init__(self, config: LatteConfig) -> None:
        super().__init__()
        p = config.patch_size
        self.proj = nn.Conv2d(config.in_channels, config.width, p, p)


class LatteTransformer(nn.Module):
    """Predicts the noise in noisy latents."""

    def __init__(self, config: LatteConfig) -> None:
        super().__init__()
        self.config = config
        self.layout = Layout()
        self.prompts = Prompts()
        d, cells = config.width, config.patch_size**2
        self.pos_embed = _PatchEmbedding(config)
        self.transformer_blocks = nn.ModuleList(
            LatteBlock(config, "space") for _ in range(config.num_layers)
        )
        self.temporal_transformer_blocks = nn.ModuleList(
            LatteBlock(config, "time") for _ in range(config.num_layers)
        )
        self.adaln_single = TimeModulation(d)
        self.caption_projection = TextProjection(config.caption_channels, d)
        self.scale_shift_table = nn.Parameter(torch.randn(2, d) / d**0.5)
        self.proj_out = nn.Linear(d, cells * (config.out_channels or config.in_channels))

    def forward(
        self,
        latents: Tensor,
        timesteps: Tensor,
        text: TextEmbedding,
        trained_frames: int | None = None,
    ) -> Tensor:
        """Predict for noisy latents.

        Args:
            latents: `b c t h w`, h and w divisible by the patch; any dtype, kept in the result.
            timesteps: in [0, 1000), `b t` for a noise level per latent frame, or `b`.
            text: encoded prompts, batch b.
            trained_frames: frames that the model was trained on; positions of more than these are
                pressed together (2306.15595).

        Returns:
            The noise, `b c t h w`; a learned variance is left out.

        Raises:
            InvalidRequestError: h or w is not divisible by the patch.
        """
        p = self.config.patch_size
        h, w = latents.shape[-2:]
        if h % p or w % p:
            raise InvalidRequestError(
                f"latents: got {h}x{w} cells, expected multiples of the patch {p}. "
                f"Fix: use {h - h % p}x{w - w % p} or {h + -h % p}x{w + -w % p}."
            )
        told = self._tell(text)
        stream = self._stream(latents, timesteps, text, told.tokens, trained_frames)
        patches = self.layout.gather(self._transform(self.layout.scatter(stream), told))
        pixels = rearrange(patches, "b t (h w) (p q c) -> b c t (h p) (w q)", h=h // p, p=p, q=p)
        return pixels[:, : self.config.in_channels].to(latents.dtype).contiguous()

    @property
    def blocks(self) -> list[nn.Module]:
        """All blocks, in the order of their use."""
        pairs = zip(self.transformer_blocks, self.temporal_transformer_blocks, strict=True)
        return [block for pair in pairs for block in pair]

    def set_attention_backend(self, backend: str) -> None:
        """Use another attention kernel (see `videogen.models.attention`) in every layer."""
        for module in self.modules():
            if isinstance(module, LatteSelfAttention | LatteCrossAttention):
                module.backend = backend

    def _tell(self, text: TextEmbedding) -> Told:
        dtype, project = self.proj_out.weight.dtype, self.caption_projection
        return self.prompts.tell(text, lambda tokens: project(tokens.to(dtype)), folds=False)

    def _stream(
        self,
        latents: Tensor,
        timesteps: Tensor,
        text: TextEmbedding,
        told: Tensor,
        trained_frames: int | None,
    ) -> Stream:
        """Embedded tokens; positions in time stand where other models have angles, `t s d`."""
        b, _, t, h, w = latents.shape
        config, p = self.config, self.config.patch_size
        dtype, device = self.proj_out.weight.dtype, latents.device
        embed = self.pos_embed.proj
        patches = patchify(latents.to(dtype), (1, p, p))
        tokens = F.linear(patches, embed.weight.flatten(1), embed.bias)
        places = spatial_positions(config, h // p, w // p).to(device)
        per_frame = timesteps[:, None] if timesteps.ndim == 1 else timesteps
        times = temporal_positions(config, t, trained_frames).to(device, dtype)[:, None]
        return Stream(
            patches=(tokens + places).to(dtype),
            condition=self.adaln_single.time(per_frame).expand(b, t, -1),
            angles=times.expand(-1, tokens.shape[2], -1),
            text=told,
            text_mask=text.mask,
            mask=None,
        )

    def _transform(self, stream: Stream, text: Told) -> Tensor:
        """Tokens of noisy latents to patches of the prediction, `b t s c`."""
        x, modulation = stream.patches, self.adaln_single(stream.condition)
        text_mask = None if bool(stream.text_mask.all()) else stream.text_mask
        pairs = zip(self.transformer_blocks, self.temporal_transformer_blocks, strict=True)
        for depth, (along_space, along_time) in enumerate(pairs):
            x = along_space(x, modulation, text, text_mask)
            if depth == 0:
                x = x + stream.angles
            x = along_time(x, modulation, text, text_mask)
        table = (self.scale_shift_table + stream.condition[:, :, None])[:, :, None]
        shift, scale = table.unbind(3)
        return self.proj_out(modulated(x, shift, scale, OUT_EPS))
