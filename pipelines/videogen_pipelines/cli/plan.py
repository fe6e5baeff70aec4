"""`videogen plan`: how a number of GPUs is best used for clips of one model."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from videogen.parallel.planner import Candidate, Choice
    from videogen_pipelines.sharding import Clips

_MANIFEST_HELP = "Plan for its rows; without it for one clip, or --num-clips."
_HEADERS = ("replicas", "memory\na rank", "sent\na step", "a step", "a clip", "all clips")
_LEGEND = (
    "All predicted, none measured: operations at {efficiency:.0%} of the published peak of {gpu}, "
    "bytes at its published bandwidth. memory: of the fullest rank, {headroom:.0%} of the GPU's "
    "is left free; a pretrained text encoder is not in it. sent: by each rank."
)


def plan(
    manifest: Annotated[str | None, typer.Argument(help=_MANIFEST_HELP, show_default=False)] = None,
    model: Annotated[str, typer.Option(help="A preset or a model folder.")] = "default",
    gpus: Annotated[int, typer.Option(min=1, help="GPUs there are.")] = 8,
    gpu: Annotated[str, typer.Option(help="Their kind: a100, h100, h200, h800 or l20.")] = "h100",
    gpu_memory: Annotated[
        str | None, typer.Option(help="Memory of one, such as 80GB; that of its kind without it.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="bfloat16 or float32.")] = "bfloat16",
    num_clips: Annotated[int | None, typer.Option(min=1, help="Clips to make.")] = None,
    num_frames: Annotated[int | None, typer.Option(min=1, help="Frames of a clip.")] = None,
    height: Annotated[int | None, typer.Option(min=1, help="Height of a clip, px.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Width of a clip, px.")] = None,
    num_inference_steps: Annotated[
        int | None, typer.Option(min=1, help="Denoising steps of a clip.")
    ] = None,
    max_clip_s: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds that a clip may take at most, as predicted."),
    ] = None,
    cfg_degree: Annotated[
        int | None, typer.Option(help="Also check that so many ranks can share guidance.")
    ] = None,
    seq_degree: Annotated[
        int | None, typer.Option(help="Also check that so many ranks can share the tokens.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Choose how many GPUs make a clip together, and how many clips at once, and say why.

    Replicas come first, then the halves of guidance on two GPUs (cfg degree 2), then as few more
    that share the tokens as it takes to fit (seq degree).

    Example: videogen plan --model xl --num-frames 121 --gpus 8 --gpu-memory 80GB

    Example: videogen plan examples/prompts.jsonl --gpus 4
    """
    from rich.console import Console

    from videogen.parallel.planner import Goal, check_degrees
    from videogen.parallel.planner import plan as make_plan
    from videogen.parallel.planner_hardware import GPUS
    from videogen_pipelines.model_summary import DTYPES, find_model, name_model
    from videogen_pipelines.sharding import (
        choice_to_dict,
        clip_demand,
        clips_of_manifest,
        clips_of_size,
        parse_bytes,
    )

    sizes = {
        "num_frames": num_frames,
        "height": height,
        "width": width,
        "num_inference_steps": num_inference_steps,
    }
    _check_usage(manifest, num_clips, sizes, dtype, list(DTYPES))
    hardware = GPUS[gpu]
    if gpu_memory is not None:
        hardware = hardware.with_memory(parse_bytes(gpu_memory))
    spec = find_model(model)[0]
    if manifest is None:
        clips = clips_of_size(spec, num_clips or 1, sizes)
    else:
        clips = clips_of_manifest(manifest, spec)
    demand = clip_demand(spec, clips.largest, DTYPES[dtype])
    if cfg_degree is not None or seq_degree is not None:
        cfg, seq = (1 if degree is None else degree for degree in (cfg_degree, seq_degree))
        check_degrees(demand, gpus, cfg, seq)
    goal = Goal(num_gpus=gpus, num_clips=clips.count, max_clip_s=max_clip_s)
    choice = make_plan(demand, hardware, goal)
    if json:
        typer.echo(json_module.dumps(choice_to_dict(choice), indent=2))
    else:
        Console().print(render(choice, clips, name_model(spec), gpus, gpu))


def _check_usage(
    manifest: str | None,
    num_clips: int | None,
    sizes: dict[str, int | None],
    dtype: str,
    dtypes: list[str],
) -> None:
    if manifest is not None and (num_clips or any(sizes.values())):
        raise typer.BadParameter(
            "a manifest says its own sizes: give it, or --num-frames and so on"
        )
    if dtype not in dtypes:
        raise typer.BadParameter(f"--dtype: got '{dtype}', expected one of {', '.join(dtypes)}")


def render(choice: Choice, clips: Clips, model: str, gpus: int, gpu: str) -> RenderableType:
    """The choice, its reasons, and a line for every gang that divides the GPUs."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from videogen.parallel.planner import EFFICIENCY, HEADROOM

    best, clip = choice.best, clips.largest
    degrees = best.degrees
    size = f"{clip.width}×{clip.height}×{clip.num_frames}, {clip.num_inference_steps} steps"
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("gang", no_wrap=True)
    for header in _HEADERS:
        table.add_column(header, justify="right", no_wrap=True)
    for each in sorted(choice.candidates, key=lambda c: (c.degrees.num_ranks, c.degrees.seq)):
        if each is best or gpus % each.degrees.num_ranks == 0:
            style = "bold" if each is best else "" if each.fits else "dim strike"
            table.add_row(*_cells(each), style=style)
    legend = _LEGEND.format(efficiency=EFFICIENCY, gpu=gpu, headroom=HEADROOM)
    return Group(
        f"{model}, {clips.count:,} × {size}, on {gpus} × {gpu}",
        Text(f"replicas {best.replicas} × cfg {degrees.cfg} × seq {degrees.seq}\n", style="bold"),
        *(Text(f"- {reason}") for reason in choice.reasons),
        Text(""),
        table,
        Text(f"\n{legend}", style="dim"),
    )


def _cells(candidate: Candidate) -> list[str]:
    from videogen_pipelines.summary import format_bytes

    degrees = candidate.degrees
    note = "" if candidate.fits else ", too large"
    return [
        f"cfg {degrees.cfg} × seq {degrees.seq}",
        str(candidate.replicas),
        f"{format_bytes(candidate.memory.peak)}{note}",
        format_bytes(candidate.sent_bytes_per_step),
        *(
            seconds(value)
            for value in (
                candidate.compute_s + candidate.communicate_s,
                candidate.clip_s,
                candidate.total_s,
            )
        ),
    ]


def seconds(value: float) -> str:
    """`0.0123` as `12 ms`, `83` as `1 min 23 s`."""
    from videogen_pipelines.summary import format_seconds

    if value >= 1:
        return format_seconds(value)
    return f"{1e3 * value:.3g} ms" if value >= 1e-3 else f"{1e6 * value:.3g} µs"
