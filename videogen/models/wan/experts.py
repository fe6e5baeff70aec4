"""Wan 2.2's two transformers: one for high noise, one for low (model card of Wan2.2-T2V-A14B)."""

from __future__ import annotations

from torch import Tensor, nn

from videogen.models.layout import Layout
from videogen.models.text import TextEmbedding
from videogen.models.wan.transformer import KnownFrames, WanTransformer


class NoiseExperts(nn.Module):
    """Stands where a transformer does, and asks the one whose noise level it is."""

    def __init__(self, high: WanTransformer, low: WanTransformer, boundary: float) -> None:
        """Give timesteps of at least `boundary` to `high`, all others to `low`."""
        super().__init__()
        self.config = high.config
        self.high, self.low = high, low
        self.boundary = boundary

    def forward(
        self,
        latents: Tensor,
        timesteps: Tensor,
        text: TextEmbedding,
        known: KnownFrames | None = None,
        trained_frames: int | None = None,
    ) -> Tensor:
        """As `WanTransformer`; the noisiest frame decides."""
        expert = self.expert(float(timesteps.max()))
        return expert(latents, timesteps, text, known, trained_frames)

    def expert(self, timestep: float) -> WanTransformer:
        """The transformer for a timestep in [0, 1000]."""
        return self.high if timestep >= self.boundary else self.low

    @property
    def layout(self) -> Layout:
        """Which tokens both of them work on."""
        return self.high.layout

    @layout.setter
    def layout(self, layout: Layout) -> None:
        self.high.layout = self.low.layout = layout

    @property
    def blocks(self) -> list[nn.Module]:
        """The blocks of both."""
        return [*self.high.blocks, *self.low.blocks]

    def set_attention_backend(self, backend: str) -> None:
        """Use another attention kernel (see `videogen.models.attention`) in every layer."""
        for transformer in (self.high, self.low):
            transformer.set_attention_backend(backend)
