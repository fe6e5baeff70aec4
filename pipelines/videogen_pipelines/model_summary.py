"""What a model is and what its clips cost, in numbers that a table or a program can show."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from videogen.defaults import sampling_defaults
from videogen.errors import ConfigError, WeightsError
from videogen.foreign.address import is_foreign
from videogen.models import cost
from videogen.models.config import DiTConfig, TextConfig
from videogen.models.presets import PACKAGED, PRESETS, ParameterCounts
from videogen.models.protocol import ClipSpec
from videogen.models.published import INDEX, AnySpec, is_published
from videogen.models.published_parts import count_model
from videogen.models.published_spec import PublishedSpec
from videogen.models.spec import (
    LORA_FILE,
    SPEC_FILE,
    ModelSpec,
    packaged_models,
    read_spec,
    resolve_model,
    weight_file,
)
from videogen.registry import did_you_mean
from videogen.storage import is_remote
from videogen_pipelines.model_cache import check_model_files, read_model_spec

ATTENTION_KINDS = ("factorized", "joint")
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class AttentionCost:
    """One kind of attention at one clip size; operations of one forward of the DiT."""

    pairs: int
    """Query-key pairs that each head of each block compares."""
    attention_flops: int
    forward_flops: int


@dataclass(frozen=True)
class Memory:
    """Bytes while one clip is made."""

    weights_bytes: int
    """DiT and text encoder in the dtype, VAE and image encoder in float32; of models of this
    package, pretrained text encoders aside."""
    activations_bytes: int
    decode_bytes: int

    @property
    def peak_bytes(self) -> int:
        """Denoising and decoding follow each other, so their memory is not added up."""
        return self.weights_bytes + max(self.activations_bytes, self.decode_bytes)


@dataclass(frozen=True)
class ModelSummary:
    """A model and its costs at one clip size."""

    name: str
    description: str
    folder: str | None
    """Where its weights are; None where it has yet to be trained."""
    parameters: ParameterCounts
    dit: cost.Transformer
    text: TextConfig
    num_frames: int
    height: int
    width: int
    num_inference_steps: int
    guided: bool
    """Whether steps are taken twice, once for what a clip is not to show."""
    latent_shape: cost.LatentShape
    num_tokens: int
    compression_ratio: float
    attention: dict[str, AttentionCost]
    """By kind; of published models their own alone."""
    clip_flops: int
    """All denoising steps, with guidance where the model recommends it, and the decoding."""
    estimated_s: float | None
    """Seconds that `clip_flops` take, if a rate was given."""
    memory: dict[str, Memory]

    @property
    def attention_ratio(self) -> float | None:
        """How many times more operations joint attention takes than factorized attention."""
        if len(self.attention) < 2:
            return None
        joint, factorized = self.attention["joint"], self.attention["factorized"]
        return joint.attention_flops / factorized.attention_flops

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        plain = dataclasses.asdict(self)
        plain["parameters"]["total"] = self.parameters.total
        plain["attention_ratio"] = self.attention_ratio
        for dtype, memory in self.memory.items():
            plain["memory"][dtype]["peak_bytes"] = memory.peak_bytes
        return plain


@dataclass(frozen=True)
class Size:
    """A clip size to cost a model at; None takes the model's own."""

    num_frames: int | None = None
    height: int | None = None
    width: int | None = None


def find_model(name: str, decoder: str | None = None) -> tuple[AnySpec, str | None]:
    """The description of a preset or of a model folder, and the folder if it has weights.

    Args:
        decoder: see `read_model_spec`.

    Raises:
        ConfigError: no preset and no folder has that name.
        WeightsError: a published model is not whole.
    """
    if is_foreign(name):
        raise ConfigError(
            f"model: got '{name}', expected one of our own or a published one, because what a "
            "pipeline of diffusers costs is not known. Fix: look at it with videogen doctor, or "
            "videogen generate --dry-run."
        )
    if not is_remote(name) and is_published(Path(name).expanduser()):
        published = read_model_spec(name, decoder)
        check_model_files(published)
        return published, name
    if is_remote(name):
        stored = read_model_spec(name, decoder)
        check_model_files(stored)
        return stored, None
    try:
        folder = resolve_model(name)
    except WeightsError as error:
        if name in PRESETS:
            return PRESETS[name].spec(), None
        raise ConfigError(
            f"model: got '{name}', {did_you_mean(name, list(PRESETS))} "
            f"Fix: name one of these, or a folder that holds {SPEC_FILE} or {INDEX}."
        ) from error
    spec = read_spec(folder)
    return spec, str(folder) if _has_weights(folder, spec) else None


def _has_weights(folder: Path, spec: ModelSpec) -> bool:
    return bool(spec.files) and all(weight_file(folder, file).is_file() for file in spec.files)


def summarise_model(name: str, size: Size, flops_per_s: float | None = None) -> ModelSummary:
    """Cost a preset or a model folder at a clip size.

    Args:
        flops_per_s: sustained rate of the device, to estimate seconds.

    Raises:
        ConfigError: no preset and no folder has that name, or its description is wrong.
        InvalidRequestError: the model cannot make clips of that size.
    """
    spec, folder = find_model(name)
    own = sampling_defaults(spec.name, spec.sampling).model_dump()
    said = {key: value for key, value in dataclasses.asdict(size).items() if value is not None}
    clip: dict[str, int] = {key: (own | said)[key] for key in dataclasses.asdict(size)}
    spec.check_size(**clip)
    shape, parameters = spec.latent_shape(**clip), count_model(spec)
    clip_flops = cost.clip_flops(
        spec.dit,
        spec.vae,
        shape,
        num_text_tokens=spec.text.max_tokens,
        num_inference_steps=own["num_inference_steps"],
        guided=own["guidance_scale"] != 1,
    )
    return ModelSummary(
        name=spec.name,
        description=_description(name, spec),
        folder=folder,
        parameters=parameters,
        dit=spec.dit,
        text=spec.text,
        **clip,
        num_inference_steps=own["num_inference_steps"],
        guided=own["guidance_scale"] != 1,
        latent_shape=shape,
        num_tokens=cost.num_tokens(spec.dit, shape),
        compression_ratio=cost.compression_ratio(spec.vae, **clip),
        attention={kind: _attention_cost(spec, shape, kind) for kind in _kinds(spec)},
        clip_flops=clip_flops,
        estimated_s=cost.estimate_seconds(clip_flops, flops_per_s) if flops_per_s else None,
        memory={
            dtype: _memory(spec, parameters, shape, clip["height"], clip["width"], dtype)
            for dtype in DTYPES
        },
    )


def list_models() -> list[str]:
    """The presets in the order of size, and after each what is packaged and made from it."""
    adapted = [name for name in packaged_models() if name not in PRESETS]
    of = {preset: [n for n in adapted if n.startswith(f"{preset}-")] for preset in PRESETS}
    return [name for preset in PRESETS for name in (preset, *of[preset])]


def _description(name: str, spec: object) -> str:
    return PRESETS[name].description if name in PRESETS else PACKAGED.get(name) or _described(spec)


def _described(spec: object) -> str:
    if isinstance(spec, ModelSpec) and LORA_FILE in spec.files:
        own = sampling_defaults(spec.name, spec.sampling)
        steps, guidance = own.num_inference_steps, own.guidance_scale
        return f"another model with an adapter, for {steps} steps at guidance {guidance:g}"
    if not isinstance(spec, PublishedSpec):
        return ""
    return f"{spec.kind}, {'image' if spec.takes_image else 'text'} to video"


def name_model(spec: ClipSpec) -> str:
    """What a model is called and, of a published one, what it is."""
    described = _described(spec)
    return f"{spec.name} ({described})" if described else spec.name


def _kinds(spec: AnySpec) -> tuple[str, ...]:
    return ATTENTION_KINDS if isinstance(spec, ModelSpec) else (spec.dit.attention,)


def _attention_cost(spec: AnySpec, shape: cost.LatentShape, kind: Any) -> AttentionCost:
    dit = spec.dit
    if isinstance(dit, DiTConfig):
        dit = dataclasses.replace(dit, attention=kind)
    flops = cost.forward_flops(dit, shape, spec.text.max_tokens)
    return AttentionCost(cost.attention_pairs(dit, shape), flops.self_attention, flops.total)


def _memory(
    spec: AnySpec,
    parameters: ParameterCounts,
    shape: cost.LatentShape,
    height: int,
    width: int,
    dtype_name: str,
) -> Memory:
    dtype = DTYPES[dtype_name]
    in_dtype = cost.weight_bytes(parameters.dit + (parameters.text or 0), dtype)
    return Memory(
        weights_bytes=in_dtype
        + cost.weight_bytes(parameters.vae + parameters.image, torch.float32),
        activations_bytes=cost.activation_bytes(spec.dit, shape, dtype),
        decode_bytes=cost.decode_peak_bytes(spec.vae, height, width),
    )
