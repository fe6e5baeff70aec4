"""From a model and its clips to what `videogen.parallel.planner` asks for, and its answer."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from math import ceil, prod
from typing import Any

import torch

from videogen.defaults import sampling_defaults
from videogen.errors import ConfigError
from videogen.extension.plan import plan_clip
from videogen.models.published import AnySpec
from videogen.models.published_parts import count_model
from videogen.models.published_spec import PublishedSpec
from videogen.parallel.planner import (
    Candidate,
    Choice,
    best_ulysses_degree,
    estimate_memory,
    max_seq_degree,
)
from videogen.parallel.planner_work import ClipDemand, Degrees, step_bytes
from videogen_pipelines.config import GangSection, ModelSection
from videogen_pipelines.inputs import ManifestInputs
from videogen_pipelines.manifest import InvalidRow
from videogen_pipelines.model_summary import DTYPES
from videogen_pipelines.plan import ClipShape
from videogen_pipelines.stretches import stretches_of

_UNITS = {"B": 1, "MB": 10**6, "GB": 10**9, "TB": 10**12, "MiB": 2**20, "GiB": 2**30}
_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([A-Za-z]+)")


@dataclass(frozen=True, slots=True)
class ClipKind:
    """What decides what a clip costs."""

    num_frames: int
    height: int
    width: int
    num_inference_steps: int
    """Evaluations of the denoiser; the sampler `heun` takes two a step."""
    is_guided: bool

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> ClipKind:
        """Read it from the fields of a `ClipRequest`."""
        return cls(
            fields["num_frames"],
            fields["height"],
            fields["width"],
            fields["num_inference_steps"] * (2 if fields["sampler"] == "heun" else 1),
            fields["guidance_scale"] != 1,
        )

    @property
    def num_pixels(self) -> int:
        return self.num_frames * self.height * self.width


@dataclass(frozen=True)
class Clips:
    """How many clips there are, and the largest of them."""

    count: int
    largest: ClipKind


def clips_of_manifest(path: str, spec: AnySpec) -> Clips:
    """Count the clips of a manifest.

    Raises:
        InvalidRequestError: rows are bad; names all of them.
        ConfigError: there are no rows.
    """
    check = partial(plan_clip, spec)
    inputs = ManifestInputs(path, sampling_defaults(spec.name, spec.sampling), check)
    kinds: Counter[ClipKind] = Counter()
    for request in inputs.requests(inputs.check()):
        if not isinstance(request, InvalidRow):
            kinds[ClipKind.of(request.model_dump())] += 1
    if not kinds:
        raise ConfigError(f"manifest: got no rows in {path}, expected at least one prompt.")
    largest = max(kinds, key=lambda kind: (kind.num_pixels, kind.num_inference_steps))
    return Clips(kinds.total(), largest)


def clips_of_size(spec: AnySpec, count: int, said: Mapping[str, Any]) -> Clips:
    """`count` clips with the model's own defaults, but for the fields that are said.

    Raises:
        InvalidRequestError: the model cannot make clips of that size.
    """
    own = sampling_defaults(spec.name, spec.sampling)
    given = {key: value for key, value in said.items() if value is not None}
    kind = ClipKind.of(own.filled(given))
    spec.check_size(kind.num_frames, kind.height, kind.width)
    return Clips(count, kind)


def clip_demand(
    spec: AnySpec, kind: ClipKind, dtype: torch.dtype, offload: Collection[str] = ()
) -> ClipDemand:
    """What one clip asks of a gang; text encoders are counted for published models alone.

    A clip that is made in stretches counts as one of the longest of them, with as many more steps
    as there is more to denoise; of its decoding, only that of one stretch is counted.

    Args:
        offload: parts that visit the GPU only while they are used; see `ModelSection`.
    """
    kind = _one_stretch(spec, kind)
    parameters = count_model(spec)
    return ClipDemand(
        dit=spec.dit,
        vae=spec.vae,
        num_frames=kind.num_frames,
        height=kind.height,
        width=kind.width,
        num_text_tokens=spec.text.max_tokens,
        num_inference_steps=kind.num_inference_steps,
        is_guided=kind.is_guided,
        dtype=dtype,
        num_dit_parameters=parameters.dit,
        num_vae_parameters=parameters.vae + parameters.image,
        num_text_parameters=parameters.text or 0,
        offloads_text="text" in offload,
        offloads_vae="vae" in offload,
    )


def _one_stretch(spec: AnySpec, kind: ClipKind) -> ClipKind:
    starts = isinstance(spec, PublishedSpec) and spec.takes_image
    size = kind.num_frames, kind.height, kind.width
    shape = ClipShape(*size, 1, is_guided=False, has_start=starts)
    counts = stretches_of(shape, spec)
    longest = max(counts)
    if sum(counts.values()) == 1:
        return kind
    share = sum(length * count for length, count in counts.items()) / longest
    return dataclasses.replace(
        kind,
        num_frames=spec.vae.frames(longest),
        num_inference_steps=ceil(kind.num_inference_steps * share),
    )


@dataclass(frozen=True, slots=True)
class GangForecast:
    """What a gang spares and costs, for the largest clip; estimates.

    `rank_bytes` is the memory of the fullest rank, `alone_bytes` what one rank alone would need,
    and `sent_bytes_per_step` what a rank sends to the others.
    """

    cfg_degree: int
    seq_degree: int
    weights: str
    rank_bytes: int
    alone_bytes: int
    sent_bytes_per_step: int


def forecast_gang(
    spec: AnySpec,
    shapes: Collection[ClipShape],
    gang: GangSection,
    dtype: torch.dtype,
    offload: Collection[str] = (),
) -> GangForecast:
    """What to expect of gangs of settled degrees."""
    demand = widest_clip(spec, shapes, dtype, offload)
    cfg, seq = gang.degrees
    degrees = Degrees(cfg, seq, gang.ulysses_degree or best_ulysses_degree(demand, seq))
    is_divided = gang.weights in ("sharded", "offloaded")
    return GangForecast(
        cfg_degree=cfg,
        seq_degree=seq,
        weights=gang.weights if is_divided else "whole",
        rank_bytes=estimate_memory(demand, degrees, shared_weights=is_divided).peak,
        alone_bytes=estimate_memory(demand, Degrees()).peak,
        sent_bytes_per_step=int(step_bytes(demand, degrees)),
    )


def widest_clip(
    spec: AnySpec,
    shapes: Collection[ClipShape],
    dtype: torch.dtype,
    offload: Collection[str] = (),
) -> ClipDemand:
    """The clip that has work for most ranks, the largest of those; guided if any is."""
    is_guided = any(shape.is_guided for shape in shapes)
    kinds = [ClipKind(s.num_frames, s.height, s.width, 1, is_guided) for s in shapes]
    demands = [clip_demand(spec, kind, dtype, offload) for kind in kinds]
    return max(demands, key=lambda each: (max_seq_degree(each), prod(each.latent_shape)))


def clip_dtype(model: ModelSection) -> torch.dtype:
    """What a model computes in, as far as this machine can tell."""
    is_gpu = model.device == "cuda" or (model.device == "auto" and torch.cuda.is_available())
    return DTYPES.get(model.dtype, torch.bfloat16 if is_gpu else torch.float32)


def parse_bytes(text: str) -> int:
    """`80GB` and `80 GiB` as a number of bytes.

    Raises:
        ConfigError: it is no number with a unit.
    """
    found = _AMOUNT.fullmatch(text.strip())
    units = {unit.lower(): size for unit, size in _UNITS.items()}
    if found is None or found[2].lower() not in units:
        raise ConfigError(
            f"gpu_memory: got '{text}', expected a number and one of {', '.join(_UNITS)}, "
            "such as 80GB."
        )
    return int(float(found[1]) * units[found[2].lower()])


def choice_to_dict(choice: Choice) -> dict[str, Any]:
    """JSON types only."""
    return {
        "best": candidate_to_dict(choice.best),
        "reasons": list(choice.reasons),
        "candidates": [candidate_to_dict(each) for each in choice.candidates],
    }


def candidate_to_dict(candidate: Candidate) -> dict[str, Any]:
    """JSON types only."""
    plain = dataclasses.asdict(candidate)
    degrees = plain.pop("degrees")
    names = {"cfg": "cfg_degree", "seq": "seq_degree", "ulysses": "ulysses_degree"}
    plain["memory"]["peak"] = candidate.memory.peak
    return {**{names[key]: value for key, value in degrees.items()}, **plain}
