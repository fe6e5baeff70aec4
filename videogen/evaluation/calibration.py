"""What step caching costs and gains: clips with it against the same clips without."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from videogen.errors import ConfigError
from videogen.evaluation.paired import compare_clips
from videogen.generator import VideoGenerator
from videogen.models.variant import StepCache
from videogen.requests import ClipRequest

WARM_UP_STEPS = 2


@dataclass(frozen=True)
class Calibrated:
    """One setting; means over the clips."""

    cache: StepCache
    psnr_db: float
    ssim: float
    worst_psnr_db: float
    seconds: float
    """Of denoising a clip."""
    speedup: float
    """Time without caching by time with it; pairs one after the other."""

    @property
    def strength(self) -> str:
        """The value that was varied."""
        cache = self.cache
        if cache.kind == "first_block":
            return f"{cache.threshold:g}"
        return "/".join(map(str, cache.ranges))


def calibrate(
    generator: VideoGenerator, requests: Sequence[ClipRequest], caches: Sequence[StepCache]
) -> Iterator[Calibrated]:
    """Make every clip without step caching, then with each setting, and compare.

    Times are those of the CPU's clock of this process, or of the wall on a GPU. What is done once,
    such as encoding a prompt and packing or compiling the weights, is done before and left out.

    Args:
        generator: loaded with a `StepCache` of the kind of all `caches`, whatever its values.
        requests: resolved; a few clips, of the model and the steps that will be used.

    Raises:
        ConfigError: the generator was loaded without a cache, or with one of another kind.
    """
    variant = generator.variant
    kinds = {cache.kind for cache in caches}
    if variant.cache is None or kinds != {variant.cache.kind}:
        raise ConfigError(
            f"calibrate: got settings of {', '.join(sorted(kinds))} for a model prepared for "
            f"{'none' if variant.cache is None else variant.cache.kind}, expected the same kind. "
            "Fix: load the model with a StepCache of that kind."
        )
    try:
        generator.variant = replace(variant, cache=None)
        whole = _make_all(generator, requests)
        for cache in caches:
            generator.variant = replace(variant, cache=cache)
            yield _compared(cache, whole, _make_all(generator, requests))
    finally:
        generator.variant = variant


Made = tuple[np.ndarray, float]


def _compared(cache: StepCache, whole: Sequence[Made], cached: Sequence[Made]) -> Calibrated:
    scores = [
        compare_clips([frames], [reference])
        for (frames, _), (reference, _) in zip(cached, whole, strict=True)
    ]
    psnr = [score["ref.psnr"].value for score in scores]
    seconds = statistics.mean(spent for _, spent in cached)
    return Calibrated(
        cache=cache,
        psnr_db=statistics.mean(psnr),
        ssim=statistics.mean(score["ref.ssim"].value for score in scores),
        worst_psnr_db=min(psnr),
        seconds=seconds,
        speedup=statistics.mean(spent for _, spent in whole) / seconds,
    )


def _make_all(generator: VideoGenerator, requests: Sequence[ClipRequest]) -> list[Made]:
    for request in requests:
        _warm_up(generator, request)
    return [_make(generator, request) for request in requests]


def _warm_up(generator: VideoGenerator, request: ClipRequest) -> None:
    """Pay for what is done once: whoever came first would seem to be slower."""
    steps = min(request.num_inference_steps, WARM_UP_STEPS)
    generator.denoise(request.model_copy(update={"num_inference_steps": steps}))


def _make(generator: VideoGenerator, request: ClipRequest) -> Made:
    """Frames of a clip, uint8 `t h w c`, and the seconds of denoising it."""
    clock = _clock(generator.device)
    start = clock()
    latents = generator.denoise(request)
    spent = clock() - start
    frames = np.concatenate(list(generator.decode(latents)))
    return frames[: request.num_frames], spent


def _clock(device: torch.device) -> Callable[[], float]:
    if device.type != "cuda":
        return time.process_time

    def now() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return now
