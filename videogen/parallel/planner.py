"""How many replicas of a model, and how many ranks each: what fits, and what it costs.

Replicas come first, because they share nothing; then the halves of guidance on two ranks, which
exchange one estimate a step; then the smallest `seq` degree that fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil

import torch

from videogen.errors import ConfigError
from videogen.models import cost
from videogen.parallel import planner_work as work
from videogen.parallel.planner_hardware import GB, Hardware
from videogen.parallel.planner_work import ClipDemand, Degrees

EFFICIENCY = 0.4
"""Share of the published peak that a forward is assumed to reach."""
HEADROOM = 0.1
"""Share of the memory left to the driver, to communication and to fragments; an assumption."""


@dataclass(frozen=True)
class Memory:
    """Bytes of the fullest rank."""

    weights: int
    denoise: int
    decode: int

    @property
    def peak(self) -> int:
        """Clips are denoised, then decoded."""
        return self.weights + max(self.denoise, self.decode)


@dataclass(frozen=True)
class Candidate:
    """One way to spread a clip over a gang, and what is predicted of it."""

    degrees: Degrees
    replicas: int
    memory: Memory
    fits: bool
    overlap: bool
    """Whether both halves of guidance fit at once, to compute one while the other's tokens travel;
    `parallelize_generator` takes it."""
    shared_weights: bool
    """Whether each rank keeps a share of the DiT's weights (`shard_weights`), for want of room."""
    sent_bytes_per_step: float
    """Of the busiest rank."""
    compute_s: float
    """Of one denoising step."""
    communicate_s: float
    """Of one denoising step, at the published bandwidth, hidden behind nothing."""
    decode_s: float
    clip_s: float
    total_s: float
    """Of all clips."""


@dataclass(frozen=True)
class Choice:
    """What the planner chose, why, and what else there was."""

    best: Candidate
    reasons: tuple[str, ...]
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a plan is for."""

    num_gpus: int
    num_clips: int
    max_clip_s: float | None = None
    """No clip may take longer, as far as predicted."""


def plan(
    demand: ClipDemand,
    hardware: Hardware,
    goal: Goal,
    is_wanted: Callable[[Degrees], bool] = lambda _: True,
) -> Choice:
    """Choose degrees and replicas for clips like `demand`.

    Args:
        is_wanted: which of the legal degrees may be chosen.

    Raises:
        ConfigError: no such degree is legal or fits the memory, or none is fast enough.
    """
    wanted = [each for each in legal_degrees(demand, goal.num_gpus) if is_wanted(each)]
    if not wanted:
        raise ConfigError(
            "seq_degree: got none that is legal, expected one that leaves no rank without tokens "
            "or guidance. Fix: use auto for both degrees."
        )
    candidates = tuple(examine(demand, hardware, goal, degrees) for degrees in wanted)
    usable = [each for each in candidates if each.fits]
    if not usable:
        raise ConfigError(_does_not_fit(candidates, hardware))
    quick = [each for each in usable if goal.max_clip_s is None or each.clip_s <= goal.max_clip_s]
    if not quick:
        fastest = min(usable, key=lambda each: each.clip_s)
        raise ConfigError(
            f"max_clip_s: got {goal.max_clip_s:g}, expected at least {fastest.clip_s:.3g}, which "
            f"{_named(fastest.degrees)} is predicted to take. Fix: more or faster GPUs, or fewer "
            "num_inference_steps."
        )
    smallest = min(quick, key=_preference)
    best = _with_idle_gpus(smallest, quick, goal)
    return Choice(best, _reasons(best, smallest, candidates, hardware, goal), candidates)


def _preference(candidate: Candidate) -> tuple[int, int]:
    return candidate.degrees.num_ranks, candidate.degrees.seq


def _with_idle_gpus(smallest: Candidate, quick: list[Candidate], goal: Goal) -> Candidate:
    """Of the gangs that leave as many clips to be made at once, the fastest."""
    at_once = min(smallest.replicas, goal.num_clips)
    wide = [each for each in quick if each.replicas >= at_once]
    return min([smallest, *wide], key=lambda each: (each.total_s, _preference(each)))


def examine(demand: ClipDemand, hardware: Hardware, goal: Goal, degrees: Degrees) -> Candidate:
    """Predict memory and time of one choice of degrees."""
    usable = (1 - HEADROOM) * hardware.memory_bytes
    shared_weights = estimate_memory(demand, degrees).peak > usable and degrees.num_ranks > 1
    memory = estimate_memory(demand, degrees, shared_weights=shared_weights)
    both = estimate_memory(demand, degrees, overlap=True, shared_weights=shared_weights)
    overlap = can_overlap(demand, degrees) and both.peak <= usable
    memory = both if overlap else memory
    replicas = goal.num_gpus // degrees.num_ranks
    busy = min(replicas, goal.num_clips)
    compute_s = step_compute_s(demand, hardware, degrees)
    communicate_s = step_communicate_s(demand, hardware, degrees)
    sent = work.step_bytes(demand, degrees)
    if shared_weights:
        forwards = work.forwards_per_step(demand, degrees)
        gathered = forwards * work.gather_bytes(demand, degrees)
        sent += gathered
        communicate_s += gathered * seconds_per_byte(hardware, degrees.num_ranks)
    decode_s = estimate_decode_s(demand, hardware, degrees)
    clip_s = demand.num_inference_steps * (compute_s + communicate_s) + decode_s
    return Candidate(
        degrees=degrees,
        replicas=replicas,
        memory=memory,
        fits=memory.peak <= usable,
        overlap=overlap,
        shared_weights=shared_weights,
        sent_bytes_per_step=sent,
        compute_s=compute_s,
        communicate_s=communicate_s,
        decode_s=decode_s,
        clip_s=clip_s,
        total_s=ceil(goal.num_clips / busy) * clip_s,
    )


def can_overlap(demand: ClipDemand, degrees: Degrees) -> bool:
    """Whether there are two halves on the same ranks, and something to send."""
    return demand.is_guided and degrees.cfg == 1 and degrees.seq > 1


def estimate_memory(
    demand: ClipDemand, degrees: Degrees, *, overlap: bool = False, shared_weights: bool = False
) -> Memory:
    """Bytes of the fullest rank.

    Args:
        overlap: both halves of guidance are computed at once.
        shared_weights: of the DiT, a rank keeps its share, the block in use and the next one.
    """
    dit = work.dit_bytes(demand)
    if shared_weights:
        dit = dit // degrees.num_ranks + 2 * dit // demand.dit.depth
    text = cost.weight_bytes(demand.num_text_parameters, demand.dtype)
    vae = cost.weight_bytes(demand.num_vae_parameters, torch.float32)
    visiting_text, visiting_vae = text * demand.offloads_text, vae * demand.offloads_vae
    denoise = work.denoise_bytes(demand, degrees) * (2 if overlap else 1)
    return Memory(
        weights=dit + text + vae - visiting_text - visiting_vae,
        denoise=max(denoise, visiting_text),
        decode=work.decode_bytes(demand, degrees) + visiting_vae,
    )


def step_compute_s(demand: ClipDemand, hardware: Hardware, degrees: Degrees) -> float:
    """Seconds of one denoising step that the busiest rank computes."""
    forwards = work.forwards_per_step(demand, degrees)
    rate = EFFICIENCY * hardware.flops_per_s(demand.dtype)
    return forwards * work.rank_flops(demand, degrees) / rate


def step_communicate_s(demand: ClipDemand, hardware: Hardware, degrees: Degrees) -> float:
    """Seconds of one denoising step that a rank sends, as if nothing were computed meanwhile.

    Those who trade heads are neighbours; a ring that leaves the node is as fast as its slowest hop.
    """
    group = degrees.seq if demand.dit.attention == "factorized" else degrees.ulysses
    is_near = degrees.seq <= hardware.gpus_per_node
    hop = 1 / (hardware.near_bytes_per_s if is_near else hardware.far_bytes_per_s)
    moved = work.all_to_all_bytes(demand, degrees) * seconds_per_byte(hardware, group)
    passed_on = work.ring_bytes(demand, degrees) * hop
    return work.forwards_per_step(demand, degrees) * (moved + passed_on)


def seconds_per_byte(hardware: Hardware, num_ranks: int) -> float:
    """Of an all-to-all among ranks that fill one node after the other."""
    node = hardware.gpus_per_node
    if num_ranks <= node:
        return 1 / hardware.near_bytes_per_s
    far = (num_ranks - node) / (num_ranks - 1)
    return far / hardware.far_bytes_per_s + (1 - far) / hardware.near_bytes_per_s


def estimate_decode_s(demand: ClipDemand, hardware: Hardware, degrees: Degrees) -> float:
    """Seconds to decode the clip with all ranks of the gang, in float32."""
    vae, size = demand.vae, (demand.height, demand.width)
    share = work.decode_share(demand, degrees.num_ranks)
    part = cost.decode_flops(vae, demand.latent_shape) * share
    sent = 2 * work.halo_bytes(vae, demand.num_frames, *size, degrees.num_ranks)
    compute_s = part / (EFFICIENCY * hardware.flops_per_s(torch.float32))
    return compute_s + sent * seconds_per_byte(hardware, degrees.num_ranks)


def legal_degrees(demand: ClipDemand, num_gpus: int) -> Iterator[Degrees]:
    """All degrees that leave no rank without work; for each `seq`, the least work by heads."""
    for cfg in (1, 2) if demand.is_guided else (1,):
        for seq in range(1, min(num_gpus // cfg, max_seq_degree(demand)) + 1):
            yield Degrees(cfg, seq, best_ulysses_degree(demand, seq))


def max_seq_degree(demand: ClipDemand) -> int:
    """The most ranks that tokens can be cut for: one frame or one place in the frame each."""
    return max(demand.token_grid)


def best_ulysses_degree(demand: ClipDemand, seq: int) -> int:
    """The divisor of `seq`, up to the heads, with the least work, then the fewest bytes."""
    if demand.dit.attention == "factorized":
        return 1
    heads = demand.dit.num_heads
    divisors = [u for u in range(1, min(seq, heads) + 1) if seq % u == 0]
    choices = [Degrees(1, seq, u) for u in divisors]
    return min(
        choices, key=lambda d: (work.rank_flops(demand, d), work.forward_bytes(demand, d))
    ).ulysses


def check_degrees(demand: ClipDemand, num_gpus: int, cfg: int, seq: int) -> Degrees:
    """The degrees asked for, with the number of ranks that trade heads.

    Raises:
        ConfigError: they are not legal; says why, and the nearest that are.
    """
    if cfg not in (1, 2):
        raise ConfigError(
            f"cfg_degree: got {cfg}, expected 1 or 2, because guidance has two halves. Fix: use "
            f"{min(max(cfg, 1), 2)}."
        )
    if cfg == 2 and not demand.is_guided:
        raise ConfigError(
            "cfg_degree: got 2, expected 1, because guidance_scale 1 needs one half only. "
            "Fix: use 1, and raise seq_degree or the gangs."
        )
    most = min(num_gpus // cfg, max_seq_degree(demand))
    if 1 <= seq <= most:
        return Degrees(cfg, seq, best_ulysses_degree(demand, seq))
    raise ConfigError(_illegal_seq(demand, num_gpus, cfg, seq, most))


def _illegal_seq(demand: ClipDemand, num_gpus: int, cfg: int, seq: int, most: int) -> str:
    if most < 1:
        return f"cfg_degree: got {cfg}, expected at most {num_gpus} GPU. Fix: use 1."
    t, s = demand.token_grid
    why = "a rank is at least one"
    if seq > num_gpus // cfg:
        why = f"cfg_degree {cfg} × seq_degree {seq} is {cfg * seq} ranks of {num_gpus} GPUs"
    elif seq > most:
        why = f"ranks would be without tokens: the clip has {t} frames of {s}"
    return (
        f"seq_degree: got {seq}, expected 1 to {most}, because {why}. "
        f"Fix: use {min(max(seq, 1), most)}."
    )


def _does_not_fit(candidates: tuple[Candidate, ...], hardware: Hardware) -> str:
    least = min(candidates, key=lambda each: each.memory.peak)
    fix = "fewer frames or pixels, or GPUs with more memory"
    if least.memory.weights > (1 - HEADROOM) * hardware.memory_bytes:
        fix = "a smaller model or dtype, or GPUs with more memory: weights alone do not fit"
    return (
        f"gpu_memory: got {hardware.memory_bytes / GB:.4g} GB, expected at least "
        f"{least.memory.peak / (1 - HEADROOM) / GB:.3g} GB, which {_named(least.degrees)} needs "
        f"with {HEADROOM:.0%} headroom. Fix: {fix}."
    )


def _reasons(
    best: Candidate,
    smallest: Candidate,
    candidates: tuple[Candidate, ...],
    hardware: Hardware,
    goal: Goal,
) -> tuple[str, ...]:
    reasons = []
    for each in sorted(candidates, key=_preference):
        if each is smallest:
            break
        if not each.fits:
            reasons.append(
                f"{_named(each.degrees)} needs {each.memory.peak / GB:.3g} GB a rank, "
                f"{hardware.memory_bytes * (1 - HEADROOM) / GB:.3g} of "
                f"{hardware.memory_bytes / GB:.4g} GB are to be used"
            )
        else:
            reasons.append(f"{_named(each.degrees)} takes {each.clip_s:.3g} s a clip, too long")
    reasons.append(
        f"{_named(smallest.degrees)} is the smallest gang that does: "
        f"{_counted(smallest.replicas, 'replica')}"
    )
    if best.shared_weights:
        reasons.append("with whole weights on each rank it would not fit: ranks keep shares")
    if best is not smallest:
        idle = goal.num_gpus - smallest.degrees.num_ranks * min(smallest.replicas, goal.num_clips)
        reasons.append(
            f"{_counted(idle, 'GPU')} would be idle then: {_named(best.degrees)} makes a clip in "
            f"{best.clip_s:.3g} s instead of {smallest.clip_s:.3g} s"
        )
    return tuple(reasons)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _named(degrees: Degrees) -> str:
    return f"cfg {degrees.cfg} × seq {degrees.seq}"
