"""What `auto` means for a gang: the smallest one that the largest clip fits into."""

from __future__ import annotations

from collections.abc import Collection

import torch

from videogen.errors import ConfigError
from videogen.models.protocol import ClipSpec
from videogen.models.published import AnySpec
from videogen.parallel.planner import Goal, check_degrees, max_seq_degree, plan
from videogen.parallel.planner_hardware import GPUS, Hardware
from videogen.parallel.planner_work import ClipDemand, Degrees
from videogen_pipelines.config import GangSection, RunConfig
from videogen_pipelines.plan import ClipShape
from videogen_pipelines.sharding import clip_dtype, parse_bytes, widest_clip

_MOST_GPUS = 64
_ANY_GPU = "h100"
"""What fits is a question of memory alone; the kind of GPU only names the speeds."""


def settle_gang(config: RunConfig, spec: AnySpec, shapes: Collection[ClipShape]) -> GangSection:
    """Replace every `auto` of the section `cluster.gang` by what it means for these clips.

    Args:
        shapes: of all clips of the run; none settles `auto` on one rank.

    Raises:
        ConfigError: degrees are not legal for the clips, nothing fits, or the memory of the GPUs
            that are to be used is not known here.
    """
    gang = config.cluster.gang
    if gang.is_single or not shapes:
        return _one_rank(gang)
    demand = widest_clip(spec, shapes, clip_dtype(config.model), config.model.offload)
    if gang.seq_degree != "auto" and gang.cfg_degree != "auto":
        return _settled(gang, _asked_for(gang, demand), is_divided=False)
    try:
        hardware = _hardware(config)
        return _fitting(gang, demand, hardware) if hardware else _one_rank(gang)
    except ConfigError as error:
        raise ConfigError(f"cluster.gang.{error}") from None


def single_gang(config: RunConfig, spec: ClipSpec) -> GangSection:
    """The gang of a model that cannot be shared: one rank.

    Raises:
        ConfigError: more were asked for, or its weights divided.
    """
    gang = config.cluster.gang
    asked = {"seq_degree": gang.seq_degree, "cfg_degree": gang.cfg_degree}
    for name, degree in asked.items():
        if degree not in (1, "auto"):
            raise ConfigError(
                f"cluster.gang.{name}: got {degree}, expected 1, because {spec.name} runs on one "
                "rank. Fix: leave it out; cluster.gangs makes clips side by side."
            )
    if gang.weights not in ("auto", "whole"):
        raise ConfigError(
            f"cluster.gang.weights: got '{gang.weights}', expected 'whole', because {spec.name} "
            "runs on one rank. Fix: leave it out; model.cpu_offload takes less of a GPU's memory."
        )
    return _one_rank(gang)


def _one_rank(gang: GangSection) -> GangSection:
    weights = "whole" if gang.weights == "auto" else gang.weights
    return gang.model_copy(update={"seq_degree": 1, "cfg_degree": 1, "weights": weights})


def _asked_for(gang: GangSection, demand: ClipDemand) -> Degrees:
    cfg, seq = gang.degrees
    # As many GPUs as it takes: what the cluster has is not known yet.
    num_gpus = cfg * max(seq, max_seq_degree(demand))
    try:
        return check_degrees(demand, num_gpus, cfg, seq)
    except ConfigError as error:
        raise ConfigError(f"cluster.gang.{error}") from None


def _fitting(gang: GangSection, demand: ClipDemand, hardware: Hardware) -> GangSection:
    """The planner's choice, where GPUs are so many that replicas are never missing."""
    goal = Goal(num_gpus=_MOST_GPUS, num_clips=_MOST_GPUS)

    def is_wanted(degrees: Degrees) -> bool:
        return gang.cfg_degree in ("auto", degrees.cfg) and gang.seq_degree in ("auto", degrees.seq)

    best = plan(demand, hardware, goal, is_wanted).best
    return _settled(gang, best.degrees, best.shared_weights)


def _settled(gang: GangSection, degrees: Degrees, is_divided: bool) -> GangSection:
    wanted = "sharded" if is_divided else "whole"
    chosen = {
        "seq_degree": degrees.seq,
        "cfg_degree": degrees.cfg,
        "ulysses_degree": degrees.ulysses,
        "weights": wanted if gang.weights == "auto" else gang.weights,
    }
    return gang.model_copy(update=chosen)


def _hardware(config: RunConfig) -> Hardware | None:
    """A GPU of the memory that the run will find; None for CPUs, whose ranks share one memory."""
    said = config.cluster.gang.gpu_memory
    if said is not None:
        return GPUS[_ANY_GPU].with_memory(parse_bytes(said))
    if config.model.device == "cpu":
        return None
    if torch.cuda.is_available():
        return GPUS[_ANY_GPU].with_memory(torch.cuda.get_device_properties(0).total_memory)
    if config.cluster.address is None:
        return None
    raise ConfigError(
        "gpu_memory: missing, expected the memory of one GPU of the cluster, because "
        "this machine has none to look at. Fix: say it, such as 80GB, or give seq_degree and "
        "cfg_degree as numbers."
    )
