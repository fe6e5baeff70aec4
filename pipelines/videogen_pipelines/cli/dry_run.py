"""`videogen generate --dry-run`: what would be made, and what it would cost."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from videogen.foreign.spec import ForeignSpec
    from videogen.models.published import AnySpec
    from videogen_pipelines.estimate import Estimate
    from videogen_pipelines.job import Job
    from videogen_pipelines.plan import Plan
    from videogen_pipelines.sharding import GangForecast


def say_what_would_be_done(job: Job, console: Console, *, as_json: bool) -> None:
    """Print the plan of a job, what it costs, and what its model needs; make nothing."""
    from videogen.models.protocol import MakesWholeClips
    from videogen_pipelines.estimate import estimate, measure_flops_per_s
    from videogen_pipelines.generate import make_plan
    from videogen_pipelines.model_summary import name_model
    from videogen_pipelines.summary import format_bytes, format_seconds

    plan = make_plan(job)
    spec = job.model.spec
    if isinstance(spec, MakesWholeClips):
        _dry_run_foreign(job, plan, spec, console, as_json=as_json)
        return
    cost = estimate(plan, spec, measure_flops_per_s())
    gang = _forecast(job)
    if as_json:
        _print_json(job, plan, spec, cost, gang)
        return
    console.print(
        f"{job.report.path} → {job.storage.uri}, model {name_model(spec)}", soft_wrap=True
    )
    _print_counts(plan, console)
    console.print(f"  tokens    {cost.tokens:,} through the model")
    console.print(
        f"  time      about {format_seconds(cost.seconds)} on this machine's CPU "
        "(an estimate: operations over the measured speed of a matrix product)",
        soft_wrap=True,
    )
    console.print(f"  storage   about {format_bytes(cost.bytes)}")
    for line in _about_published(job):
        console.print(line, soft_wrap=True)
    if gang is not None:
        console.print(
            f"  gangs     cfg {gang.cfg_degree} × seq {gang.seq_degree}, {gang.weights} weights: "
            f"about {format_bytes(gang.rank_bytes)} a rank instead of "
            f"{format_bytes(gang.alone_bytes)} for the largest clip, "
            f"{format_bytes(gang.sent_bytes_per_step)} sent a step",
            soft_wrap=True,
        )


def _print_json(
    job: Job, plan: Plan, spec: AnySpec, cost: Estimate, gang: GangForecast | None
) -> None:
    from videogen_pipelines.model_summary import name_model

    found = {
        "out": job.storage.uri,
        "to_do": plan.to_do,
        "done": plan.done,
        "invalid": plan.invalid,
        "tokens": cost.tokens,
        "flops": cost.flops,
        "estimated_seconds": cost.seconds,
        "estimated_bytes": cost.bytes,
        "gang": None if gang is None else asdict(gang),
        "model": name_model(spec),
    }
    typer.echo(json_module.dumps(found, indent=2))


def _print_counts(plan: Plan, console: Console) -> None:
    console.print(f"  clips     {plan.to_do:,} to make, {plan.done:,} done already")
    if plan.invalid:
        console.print(f"  bad rows  {plan.invalid:,}, to be skipped and reported")


def _about_published(job: Job) -> Iterator[str]:
    """What one rank holds of a published model, and the shifts that its rows get by their size."""
    from videogen.models.published_spec import PublishedSpec
    from videogen.parallel.planner import estimate_memory
    from videogen.parallel.planner_work import Degrees
    from videogen_pipelines.sharding import clip_dtype, widest_clip
    from videogen_pipelines.summary import format_bytes

    spec, shapes = job.model.spec, job.row_index().shapes
    if not isinstance(spec, PublishedSpec):
        return
    if shapes:
        section = job.config.model
        demand = widest_clip(spec, shapes, clip_dtype(section), section.offload)
        memory = estimate_memory(demand, Degrees())
        yield (
            f"  memory    about {format_bytes(memory.peak)} on one rank for the largest clip, "
            f"{format_bytes(memory.weights)} of it weights (an estimate)"
        )
    for pixels, shift in job.model.defaults(job.config).flow_shifts or ():
        yield f"  shift     flow_shift {shift:g} from {pixels:,} pixels a frame on"


def _dry_run_foreign(
    job: Job, plan: Plan, spec: ForeignSpec, console: Console, *, as_json: bool
) -> None:
    """Say what a pipeline of diffusers would do, whose operations nobody has counted."""
    counts = {"to_do": plan.to_do, "done": plan.done, "invalid": plan.invalid}
    if as_json:
        typer.echo(
            json_module.dumps(
                {"out": job.storage.uri, **counts, "model": spec.described()}, indent=2
            )
        )
        return
    console.print(f"{job.report.path} → {job.storage.uri}, model {job.model.stamp.name}")
    _print_counts(plan, console)
    for line in spec.described():
        console.print(f"  pipeline  {line}", soft_wrap=True)
    console.print("  time      not estimated for pipelines of diffusers")


def _forecast(job: Job) -> GangForecast | None:
    """What to expect of gangs of several ranks; None of single ones."""
    import torch

    from videogen.models.protocol import MakesWholeClips
    from videogen_pipelines.model_summary import DTYPES
    from videogen_pipelines.sharding import forecast_gang

    section, shapes, spec = job.config.model, job.row_index().shapes, job.model.spec
    if isinstance(spec, MakesWholeClips) or not shapes:
        return None
    if job.config.cluster.gang.world_size == 1:
        return None
    is_gpu = section.device == "cuda" or (section.device == "auto" and torch.cuda.is_available())
    auto = torch.bfloat16 if is_gpu else torch.float32
    dtype = DTYPES.get(section.dtype, auto)
    return forecast_gang(spec, shapes, job.config.cluster.gang, dtype, section.offload)
