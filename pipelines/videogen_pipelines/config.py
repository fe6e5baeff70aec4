"""`RunConfig`: everything about a run that its manifest does not say."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from videogen.config import apply_overrides, blame, check_schema, load_yaml
from videogen.errors import ConfigError
from videogen.models.variant import Lora, Precision, Residence, StepCache, Variant
from videogen.requests import SamplingDefaults, find_problems

SCHEMA = 1
PACKAGE_DEFAULTS = "package defaults"

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
_CONDITION = re.compile(r"\s*(>=|<=|>|<)\s*([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)\s*")


def split_condition(text: str) -> tuple[str, float]:
    """Read ">= 0.8" as (">=", 0.8).

    Raises:
        ValueError: it is no such condition.
    """
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ValueError(f"got {text!r}, expected a condition such as '>= 0.8' or '< 0.2'")
    return match[1], float(match[2])


def _check_condition(text: str) -> str:
    split_condition(text)
    return text


Condition = Annotated[str, AfterValidator(_check_condition)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class LoraSection(_Section):
    """Low-rank adapters that are added to the transformer's weights."""

    path: Annotated[str, Field(min_length=1)]
    """A .safetensors file, or the folder of one, on every node."""
    scale: float = 1.0
    """How strongly they act."""


class CacheSection(_Section):
    """Denoising steps that use the work of earlier ones again: faster, and not quite the same clip.

    `videogen calibrate` shows what a value costs in quality.
    """

    kind: Literal["first_block", "pyramid"]
    """first_block leaves out all blocks but the first while that changes little; pyramid uses
    attention of factorized models again for some steps."""
    threshold: Annotated[float, Field(ge=0)] = 0.06
    """Of first_block: how much change, summed over steps, is little."""
    ranges: Annotated[list[Count], Field(min_length=3, max_length=3)] = [2, 4, 6]
    """Of pyramid: for how many steps attention along space, along time and to text is used."""
    start: Annotated[float, Field(ge=0, le=1)] = 0.1
    end: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Shares of the steps between which anything is used again."""


class ModelSection(_Section):
    """Which model runs, and how it is held in memory."""

    name: Annotated[str, Field(min_length=1)] = "default"
    """default, default-fast, default-wide, a model folder, its s3:// address, or diffusers:/folder
    for a pipeline that diffusers runs."""
    device: Annotated[str, Field(min_length=1)] = "auto"
    """"auto" (a GPU where there is one), "cpu" or "cuda"."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attention: str | None = None
    """Attention kernel; null is the default one."""
    cpu_offload: bool = False
    """Of a pipeline of diffusers on a GPU: keep weights in the CPU's memory until their turn."""
    vae_tiling: bool = False
    """Of a pipeline of diffusers: decode large pictures in tiles, whose seams are blended."""
    decoder: Annotated[str, Field(min_length=1)] | None = None
    """Of models with several decoders, such as Latte-1's vae_temporal_decoder; null is the first.
    """
    text_dtype: Precision | None = None
    """Of the text encoder of a published model; null is `dtype`."""
    vae_dtype: Precision | None = None
    """Of the VAE; null is float32."""
    loras: list[LoraSection] = []
    """Adapters, merged at load; they are part of the model's digest."""
    cache: CacheSection | None = None
    """Use work of earlier steps again; null computes every step."""
    offload: list[Literal["text", "vae"]] = []
    """Parts that live in the CPU's memory and visit the GPU while they are used."""
    text_cache: str | None = None
    """A folder, on every node, that keeps embeddings of prompts from run to run."""
    compile: Literal["blocks", "cuda_graphs"] | None = None
    """Compile the transformer's blocks, for any size, or with CUDA graphs for each size."""

    @property
    def variant(self) -> Variant:
        """What changes the pixels that the model makes.

        Raises:
            ConfigError: values of `cache` exclude each other.
        """
        cache = self.cache
        return Variant(
            loras=tuple(Lora(_absolute(lora.path), lora.scale) for lora in self.loras),
            cache=None
            if cache is None
            else StepCache(
                cache.kind, cache.threshold, _triple(cache.ranges), cache.start, cache.end
            ),
            text_dtype=self.text_dtype,
            vae_dtype=self.vae_dtype,
        )

    @property
    def residence(self) -> Residence:
        """How the model is held and run."""
        folder = None if self.text_cache is None else _absolute(self.text_cache)
        return Residence(tuple(self.offload), folder, self.compile)


def _absolute(path: str) -> Path:
    return Path(path).expanduser().absolute()


def _triple(values: Sequence[int]) -> tuple[int, int, int]:
    space, time, text = values
    return space, time, text


class OutputSection(_Section):
    """How clips are written."""

    codec: Literal["h264", "hevc", "av1", "vp9"] = "h264"
    crf: Annotated[int, Field(ge=0, le=63)] | None = None
    """Quality, lower is better; null is the codec's own default."""
    contact_sheet: bool = True
    """Write a page of first, middle and last frames at the end of the run."""
    format: Literal["files", "webdataset"] = "files"
    """"webdataset" also puts the clips into shards at the end of the run, to train on."""


class GangSection(_Section):
    """How many ranks hold one replica of the model, and how they share the work."""

    seq_degree: Count | Literal["auto"] = 1
    """Ranks that share the tokens of a clip; "auto" is as few as the largest clip fits into."""
    cfg_degree: Annotated[int, Field(ge=1, le=2)] | Literal["auto"] = 1
    """2 computes the halves of guidance side by side; "auto" does so where it helps to fit."""
    ulysses_degree: Count | None = None
    """For joint attention, ranks that trade heads for tokens; null is what sends least."""
    weights: Literal["auto", "whole", "sharded", "offloaded"] = "auto"
    """Of the DiT: whole on every rank, divided among the ranks, or divided and kept in the CPU's
    memory; "auto" divides them where an automatic degree needs it."""
    gpu_memory: str | None = None
    """Memory of a GPU, such as 80GB, for automatic degrees; null looks at this machine's."""

    @property
    def is_single(self) -> bool:
        """Whether one rank makes a clip, whatever the clips are."""
        return self.seq_degree == self.cfg_degree == 1

    @property
    def degrees(self) -> tuple[int, int]:
        """(cfg, seq) once they are settled.

        Raises:
            ConfigError: one is still automatic.
        """
        if self.cfg_degree == "auto" or self.seq_degree == "auto":
            raise ConfigError(
                "cluster.gang: got automatic degrees, expected numbers. Fix: settle them first."
            )
        return self.cfg_degree, self.seq_degree

    @property
    def world_size(self) -> int:
        """Ranks of a gang; see `degrees`."""
        cfg, seq = self.degrees
        return cfg * seq


class ClusterSection(_Section):
    """How the run spreads over machines, and what it puts up with."""

    gangs: Count | Literal["auto"] = "auto"
    """Model replicas; "auto" is as many as the cluster holds, as its nodes join and leave."""
    gang: GangSection = GangSection()
    cpus_per_rank: Positive | None = None
    """CPU cores a rank reserves; null is an equal share of its node."""
    max_attempts: Count = 3
    """How often a clip is tried before it is recorded as failed."""
    max_gang_deaths: Count = 6
    """Deaths in a row after which a gang is given up."""
    hang_timeout_s: Positive | None = None
    """A gang that reports no step for so long is killed and replaced; null is 5 times the 99th
    percentile of the steps seen or the longest one of the clip, and a minute at least, but
    `setup_timeout_s` for the first step of a kind."""
    setup_timeout_s: Positive = 900.0
    """A gang that has its resources but not its model after so long is killed and replaced."""
    price_per_gpu_hour: Annotated[float, Field(ge=0)] = 0.0
    """What a GPU costs for an hour, in your currency; 0 leaves money out."""
    address: str | None = None
    """Ray cluster to join ("auto", "host:6379", "ray://host:10001"); null is the cluster of the job
    that this is, or else one of our own on this machine."""


class EvaluateSection(_Section):
    """How clips are scored, and which are good enough."""

    metrics: list[str] | None = None
    """Metrics or families, such as coherence.score or drift; null is the default set."""
    size: Annotated[int, Field(ge=32, le=1024)] = 128
    """Shorter side in pixels that frames are brought to; scores of other sizes do not compare."""
    weights: dict[str, str] = {}
    """Local folders of pretrained networks by kind: clip, dinov2, dino, raft, text-video."""
    device: Annotated[str, Field(min_length=1)] = "cpu"
    """Where those networks run."""
    during: bool = False
    """Score each clip while it is made, from the frames before they are encoded."""
    accept: dict[str, Condition] = {}
    """What a clip must reach, such as {coherence.score: ">= 0.8"}; one that does not is made again
    with another seed."""
    max_tries: Count = 3
    """How often in all a clip is made until it is accepted."""
    on_reject: Literal["keep", "fail"] = "keep"
    """What becomes of a clip without an accepted try: its best one is kept, or it fails."""

    @property
    def scores_clips(self) -> bool:
        """Whether clips are scored while they are made."""
        return self.during or bool(self.accept)


class RunConfig(_Section):
    """The configuration of one run, every field resolved except `sampling` (see there)."""

    schema_version: Literal[1] = Field(default=SCHEMA, alias="schema")
    model: ModelSection = ModelSection()
    sampling: SamplingDefaults = SamplingDefaults()
    """Over the model's recommended values and under what a manifest's row says."""
    output: OutputSection = OutputSection()
    cluster: ClusterSection = ClusterSection()
    evaluate: EvaluateSection = EvaluateSection()

    def resolved(self) -> dict[str, Any]:
        """JSON-ready values of all fields; what `sampling` leaves to the model is left out."""
        values = self.model_dump(mode="json", by_alias=True)
        values["sampling"] = self.sampling.model_dump(mode="json", exclude_none=True)
        return values

    def sha256(self) -> str:
        """Hex digest of the canonical JSON of `resolved()`."""
        text = json.dumps(self.resolved(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def override(path: str, value: Any) -> str:
    """The `--set` string that says `path` is `value`, for command line flags of their own name."""
    return f"{path}={json.dumps(value)}"


def load_run_config(path: str | Path | None = None, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a run configuration: package defaults < the file < `overrides`, later ones winning.

    Args:
        path: YAML file with `schema: 1`; None is the package defaults alone.
        overrides: `a.b=c` strings, values read as YAML.

    Raises:
        ConfigError: the file is no YAML of schema 1, or any value in it or in an override is
            unknown, of another type or out of range; names all of them, one a line.
    """
    source = PACKAGE_DEFAULTS if path is None else str(path)
    data = {} if path is None else check_schema(load_yaml(path), source, SCHEMA)
    merged = apply_overrides(data, overrides)
    said = {key: value for key, value in merged.items() if value is not None}  # "model:" alone
    try:
        return RunConfig.model_validate(said)
    except ValidationError as error:
        lines = [
            f"{blame(problem.field, source, overrides)}: {problem}"
            for problem in find_problems(error, RunConfig)
        ]
        raise ConfigError("\n".join(lines)) from None
