"""Which latent frames of a clip are made together, and given which: decided before any work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from videogen.errors import InvalidRequestError
from videogen.models.config import DiTConfig
from videogen.models.protocol import ClipSpec, MakesWholeClips
from videogen.models.published_spec import PublishedSpec
from videogen.requests import ClipRequest

Method = Literal["none", "overlap", "cached", "windows", "chained"]
DEFAULT_CHUNK_FRAMES = 17
"""The window of a model that recommends no size."""
DEFAULT_CONTEXT_NOISE = 0.1
MAX_STRETCH = 2
"""How many windows long a clip made in one piece may be (Zhao et al. 2502.15894)."""
LOOP_LATENTS = 2
"""Latent frames from the start of a clip that its last chunk is given to lead up to."""


@dataclass(frozen=True)
class ClipPlan:
    """How a clip is made; everything but `context_noise` and `anchor` in latent frames or steps."""

    method: Method
    num_latents: int
    window: int
    """Latent frames that are denoised together at most."""
    trained: int
    """Latent frames that the model makes well; `window` is more for a stretched clip."""
    context: int
    """Latent frames made before that the next ones are given."""
    context_noise: float
    """Level in [0, 1] of the noise on them."""
    async_steps: int
    anchor: float
    ahead: int
    """Latent frames of the clip's start that the last chunk leads up to."""

    def size(self, first: int) -> int:
        """Latent frames of the chunk that starts with latent frame `first`."""
        left = self.num_latents - first
        if self.method == "windows":
            return left
        most = self.window - min(first, self.context)
        if self.method == "chained":  # as even as they go: short clips are made worse
            alone = 0 if first else 1
            pieces = max(1, -(-(left - alone) // (self.window - 1)))
            return alone + -(-(left - alone) // pieces)
        if not self.ahead:
            return min(left, most)
        last = self.window - self.context - self.ahead
        knows_start = first > self.ahead  # fewer given latents are not all that is led up to
        if knows_start and left <= last:
            return left
        kept_back = max(1, min(last, left // 2))
        return max(1 + self.ahead if first == 0 else 1, min(most, left - kept_back))

    def num_chunks(self, given: int = 0) -> int:
        """Chunks of the clip; `given` latent frames at its start are part of the first."""
        count, first = 0, given
        while first < self.num_latents:
            first += self.size(first)
            count += 1
        return count


def plan_clip(spec: ClipSpec, request: ClipRequest) -> ClipPlan:
    """Decide how a model makes a clip.

    Raises:
        InvalidRequestError: the model cannot do what is asked for; says why and what it can do.
    """
    if isinstance(spec, MakesWholeClips):
        spec.check_request(request)
        return _in_one_piece(request.num_frames)
    spec.check_size(request.num_frames, request.height, request.width)
    num_latents = spec.vae.latent_frames(request.num_frames)
    window = _window(spec, request)
    if isinstance(spec, PublishedSpec) and spec.takes_image:
        _check_picture(spec, request, num_latents, window)
        method: Method = "none" if num_latents <= window else "chained"
        context = 1
    else:
        method = _method(spec, request, num_latents, window)
        context = _context(spec, request, window, method)
        _check_options(request, method)
    if request.loop:
        _check_loop(spec, request, window, context, num_latents)
    noise = request.context_noise
    return ClipPlan(
        method=method,
        num_latents=num_latents,
        window=num_latents if method == "none" else window,
        trained=window,
        context=context,
        context_noise=DEFAULT_CONTEXT_NOISE if noise is None else noise,
        async_steps=request.async_steps,
        anchor=request.anchor,
        ahead=LOOP_LATENTS if request.loop else 0,
    )


def _in_one_piece(num_frames: int) -> ClipPlan:
    """The plan of a model whose latent frames are the frames, all made together."""
    return ClipPlan(
        method="none",
        num_latents=num_frames,
        window=num_frames,
        trained=num_frames,
        context=1,
        context_noise=0.0,
        async_steps=0,
        anchor=0.0,
        ahead=0,
    )


def _window(spec: ClipSpec, request: ClipRequest) -> int:
    recommended = spec.sampling.get("chunk_frames") or spec.sampling.get("num_frames")
    frames = request.chunk_frames or recommended or DEFAULT_CHUNK_FRAMES
    factor = spec.vae.time_factor
    alone = frames == 1 and request.extension == "windows"  # each latent frame for itself
    if (frames - 1) % factor or (frames == 1 and not alone):
        below = max(factor + 1, frames - (frames - 1) % factor)
        raise InvalidRequestError(
            f"chunk_frames: got {frames}, expected {factor}n+1 of at least {factor + 1} "
            f"({below}, {below + factor}), because the VAE compresses time by {factor}."
        )
    return spec.vae.latent_frames(frames)


def _context(spec: ClipSpec, request: ClipRequest, window: int, method: Method) -> int:
    if window == 1:
        return 0
    if request.context_frames is None:
        # Given frames are denoised again, and a third of them holds a clip as well as half does.
        # Windows are blended where they overlap, which takes more.
        return max(1, window // 3 if method == "overlap" else (window - 1) // 2)
    factor = spec.vae.time_factor
    context = -(-request.context_frames // factor)
    if context >= window:
        raise InvalidRequestError(
            f"context_frames: got {request.context_frames}, expected at most "
            f"{factor * (window - 1)}, because the window is {spec.vae.frames(window)} frames. "
            "Fix: use fewer, or a larger chunk_frames."
        )
    return context


def _method(spec: ClipSpec, request: ClipRequest, num_latents: int, window: int) -> Method:
    asked = request.extension
    if asked == "cached" and not _keeps_what_it_has_seen(spec.dit):
        raise InvalidRequestError(
            f"extension: got 'cached' for {spec.name}, expected a model whose attention across "
            "frames is factorized and looks only back (dit.causal), because what it has seen is "
            "kept. Fix: use 'overlap'."
        )
    if asked == "overlap" and not _knows_levels_per_frame(spec.dit):
        raise InvalidRequestError(
            f"extension: got 'overlap' for {spec.name}, expected a model that takes a noise level "
            "per frame, because made frames are given with less noise than new ones. "
            "Fix: use 'windows'."
        )
    if asked == "chained":
        raise InvalidRequestError(
            f"extension: got 'chained' for {spec.name}, expected a model that makes clips from a "
            "picture, because each chunk starts from the last frame before it. Fix: leave it out."
        )
    if asked == "none" and num_latents > MAX_STRETCH * window:
        most = spec.vae.frames(MAX_STRETCH * window)
        raise InvalidRequestError(
            f"num_frames: got {request.num_frames}, expected at most {most} with extension 'none', "
            f"{MAX_STRETCH} times the window of {spec.vae.frames(window)} frames. "
            "Fix: use extension 'auto'."
        )
    fits = num_latents <= window and not (request.loop or request.image or request.video)
    if fits and asked != "cached":
        return "none"
    if asked == "auto":
        return "overlap" if _knows_levels_per_frame(spec.dit) else "windows"
    return asked


def _check_picture(
    spec: PublishedSpec, request: ClipRequest, num_latents: int, window: int
) -> None:
    if spec.takes_last_image:
        raise InvalidRequestError(
            f"image: got one picture, expected a first and a last one, which {spec.name} was "
            "trained with. Fix: use an image-to-video model of one picture."
        )
    if request.image is None and request.video is None:
        raise InvalidRequestError(
            f"image: got none, expected the picture to start with, because {spec.name} makes clips "
            "from one. Fix: name one, or use a text-to-video model."
        )
    if num_latents > window and request.extension == "none":
        raise InvalidRequestError(
            f"num_frames: got {request.num_frames} with extension 'none', expected at most "
            f"{spec.vae.frames(window)}, because {spec.name} makes so many at once. "
            "Fix: leave extension out."
        )
    refused = {
        "extension": request.extension not in ("auto", "none", "chained"),
        "loop": request.loop,
        "context_frames": request.context_frames is not None,
        "async_steps": request.async_steps > 0,
        "anchor": request.anchor > 0,
    }
    for name, is_asked in refused.items():
        if is_asked:
            raise InvalidRequestError(
                f"{name}: got {getattr(request, name)!r}, expected none, because {spec.name} is "
                "given the last frame before a chunk and nothing else. Fix: leave it out."
            )


def _knows_levels_per_frame(dit: object) -> bool:
    """Whether a transformer takes a noise level per frame; published ones take one for all."""
    return isinstance(dit, DiTConfig)


def _keeps_what_it_has_seen(dit: object) -> bool:
    return isinstance(dit, DiTConfig) and dit.causal and dit.attention == "factorized"


def _check_options(request: ClipRequest, method: Method) -> None:
    only_overlap = {
        "image": request.image is not None,
        "video": request.video is not None,
        "loop": request.loop,
        "async_steps": request.async_steps > 0 and method != "none",
    }
    for name, is_asked in only_overlap.items():
        if is_asked and method != "overlap":
            raise InvalidRequestError(
                f"{name}: got {getattr(request, name)!r} with extension '{request.extension}', "
                "expected 'auto' or 'overlap'. Fix: leave extension out."
            )
    if (request.image or request.video) and request.num_frames == 1:
        name = "image" if request.image else "video"
        raise InvalidRequestError(
            f"num_frames: got 1 with {name}, expected frames after those that the clip starts "
            "with. Fix: use 2 or more."
        )
    if request.async_steps and request.sampler not in ("euler", "ddim"):
        raise InvalidRequestError(
            f"async_steps: got {request.async_steps} with sampler '{request.sampler}', expected "
            "euler or ddim, because frames stand at different steps. Fix: use sampler euler."
        )
    if request.async_steps and request.sampler == "ddim" and request.eta:
        raise InvalidRequestError(
            f"eta: got {request.eta} with async_steps {request.async_steps}, expected 0, because "
            "frames in turns are given no new noise. Fix: leave eta out."
        )


def _check_loop(
    spec: ClipSpec, request: ClipRequest, window: int, context: int, num_latents: int
) -> None:
    factor, given = spec.vae.time_factor, context + LOOP_LATENTS
    if window <= given:
        raise InvalidRequestError(
            f"loop: got a window of {window} latent frames and {given} given ones, expected room "
            f"for new ones. Fix: use chunk_frames {spec.vae.frames(given + 2)} or larger, or "
            "fewer context_frames."
        )
    least = spec.vae.frames(LOOP_LATENTS + 2)
    if request.num_frames < least or request.num_frames % factor > 1:
        below = max(least + factor - 1, request.num_frames - request.num_frames % factor)
        raise InvalidRequestError(
            f"num_frames: got {request.num_frames}, expected a multiple of {factor}, or one more, "
            f"of at least {least} ({below}, {below + 1}, {below + factor}) with loop, because the "
            f"VAE compresses time by {factor}."
        )
