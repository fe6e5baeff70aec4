"""What makes a model one that clips can be made with, whichever kind it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from videogen.models.causal_conv import StreamCache
    from videogen.models.text import TextEncoder
    from videogen.requests import ClipRequest


class VAESizes(Protocol):
    """How frames and latent frames relate."""

    @property
    def latent_channels(self) -> int: ...

    @property
    def time_factor(self) -> int:
        """Frames per latent frame after the first, which stands alone."""
        ...

    @property
    def space_factor(self) -> int:
        """Pixels per latent cell and side."""
        ...

    @property
    def decoder_past(self) -> int:
        """Latent frames before one that its frames depend on."""
        ...

    def latent_frames(self, num_frames: int) -> int:
        """Latent frames that hold at least `num_frames` frames."""
        ...

    def frames(self, latent_frames: int) -> int:
        """Frames of the first `latent_frames` latent frames of a clip."""
        ...


class ClipSpec(Protocol):
    """What is known of a model before its weights are read."""

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str:
        """sha256 of everything that decides what the model makes."""
        ...

    @property
    def sampling(self) -> dict[str, Any]:
        """Recommended sampling defaults: any sampling field of a `ClipRequest`."""
        ...

    @property
    def dit(self) -> Any:
        """The configuration of the transformer, of whichever kind."""
        ...

    @property
    def vae(self) -> VAESizes: ...

    def latent_shape(self, num_frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Shape `c t h w` of the latents of a clip; the last may hold frames beyond its end."""
        ...

    def check_size(self, num_frames: int, height: int, width: int) -> None:
        """Raise `InvalidRequestError` unless the model can make clips of this size."""
        ...


class StreamingVAE(Protocol):
    """Frames in [-1, 1] to latents, and latents to frames a few at a time."""

    def encode(self, frames: Tensor) -> Tensor:
        """Latents `b c t' h w` of frames `b 3 t h w`."""
        ...

    def decode_stream(
        self, chunks: Iterable[Tensor], cache: StreamCache | None = None
    ) -> Iterator[Tensor]:
        """Frames of consecutive chunks of latents, one or a few latent frames at a time."""
        ...


class VideoModel(Protocol):
    """A loaded model."""

    @property
    def spec(self) -> ClipSpec: ...

    @property
    def dit(self) -> Any:
        """The transformer, a module called as `dit(latents b c t h w, timesteps b t, text=…)`."""
        ...

    @property
    def vae(self) -> StreamingVAE: ...

    @property
    def text(self) -> TextEncoder: ...

    def denormalise(self, latents: Tensor) -> Tensor:
        """Latents `b c t h w` as the DiT sees them, to latents as the VAE decodes them."""
        ...

    def normalise(self, latents: Tensor) -> Tensor:
        """The inverse of `denormalise`."""
        ...


@runtime_checkable
class MakesWholeClips(Protocol):
    """The description of a model that makes every clip in one piece, however long."""

    def check_request(self, request: ClipRequest) -> None:
        """Raise `InvalidRequestError` unless the model can do all that a request asks for."""
        ...


@runtime_checkable
class StartsFromPicture(Protocol):
    """A model that makes clips from their first frame."""

    def told_of(self, picture: np.ndarray, num_frames: int) -> dict[str, Any]:
        """What the transformer is given beside the text.

        Args:
            picture: the first frame, uint8 `h w c`.
            num_frames: of the clip, such that they fill its latent frames.
        """
        ...
