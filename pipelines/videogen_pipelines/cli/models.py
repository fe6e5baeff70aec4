"""`videogen models`: the sizes of model there are, and what a clip of each costs."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from videogen.models.cost import Transformer
    from videogen_pipelines.model_summary import ModelSummary

_PREFIXES = ("", "k", "M", "G", "T", "P", "E")
_NO_WEIGHTS = "to be trained"
_HEADERS = (
    "clip",
    "DiT",
    "tokens",
    "factor-\nized",
    "joint",
    "ratio",
    "latents",
    "memory",
    "ready",
)
_LEGEND = (
    "clip: width × height × frames. factorized, joint: floating-point operations of self-attention "
    "in one forward of the DiT, and their ratio. latents: how many times smaller than the pixels. "
    "memory: one clip in bfloat16, a pretrained text encoder aside. ready: has weights. "
    "'videogen models NAME' shows more."
)


def models(
    name: Annotated[
        str | None,
        typer.Argument(help="A preset or a model folder; all presets without it."),
    ] = None,
    num_frames: Annotated[int | None, typer.Option(min=1, help="Cost clips this long.")] = None,
    height: Annotated[int | None, typer.Option(min=1, help="Cost clips this high, px.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Cost clips this wide, px.")] = None,
    tflop_per_s: Annotated[
        float | None, typer.Option(min=0.001, help="Sustained by your device: estimates seconds.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """List the model sizes: parameters, tokens, attention cost, memory, and which have weights.

    Each is costed at the clip size it is meant for, unless you say another.

    Example: videogen models xl --num-frames 121
    """
    from rich.console import Console

    from videogen_pipelines.model_summary import Size, list_models, summarise_model

    names = list_models() if name is None else [name]
    size, flops_per_s = Size(num_frames, height, width), 1e12 * (tflop_per_s or 0)
    summaries = [summarise_model(each, size, flops_per_s or None) for each in names]
    plain = [summary.to_dict() for summary in summaries]
    if json:
        typer.echo(json_module.dumps(plain if name is None else plain[0], indent=2))
    else:
        Console().print(render_list(summaries) if name is None else render_one(summaries[0]))


def render_list(summaries: list[ModelSummary]) -> RenderableType:
    """One line a size; models made from one of them cost the same per step, and stand below."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from videogen.models.presets import PRESETS

    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("model", no_wrap=True)
    for header in _HEADERS:
        table.add_column(header, justify="right", no_wrap=True)
    made_from = "".join(f"\n{s.name}: {s.description}." for s in summaries if s.name not in PRESETS)
    for summary in summaries:
        if summary.name not in PRESETS:
            continue
        factorized, joint = summary.attention["factorized"], summary.attention["joint"]
        ratio = summary.attention_ratio or 0.0
        table.add_row(
            Text(summary.name, style="bold"),
            f"{summary.width}×{summary.height}×{summary.num_frames}",
            millions(summary.parameters.dit),
            f"{summary.num_tokens:,}",
            amount(factorized.attention_flops),
            amount(joint.attention_flops),
            f"{ratio:.1f}×",
            f"{summary.compression_ratio:.0f}×",
            amount(summary.memory["bfloat16"].peak_bytes, "B"),
            "yes" if summary.folder else "no",
        )
    return Group(table, Text(made_from), Text(f"\n{_LEGEND}", style="dim"))


def render_one(summary: ModelSummary) -> RenderableType:
    """Everything about one model."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for label, value in [*_about(summary), *_costs(summary)]:
        table.add_row(label, Text(value))
    return table


def _about(summary: ModelSummary) -> list[tuple[str, str]]:
    dit, text, counts = summary.dit, summary.text, summary.parameters
    of_text = "a pretrained folder" if counts.text is None else millions(counts.text)
    of_image = f", image {millions(counts.image)}" if counts.image else ""
    about = f"{summary.name}: {summary.description}" if summary.description else summary.name
    return [
        ("model", about),
        ("weights", summary.folder or _NO_WEIGHTS),
        (
            "parameters",
            f"DiT {millions(counts.dit)}, VAE {millions(counts.vae)}, text {of_text}{of_image}",
        ),
        ("DiT", _blocks(dit)),
        ("text", f"{text.kind}, width {text.width}, at most {text.max_tokens} tokens"),
    ]


def _blocks(dit: Transformer) -> str:
    from videogen.models.cost import stages

    first, *finer = stages(dit)
    said = f"{first.attention}, width {first.width}, {first.depth} blocks, {first.num_heads} heads"
    more = (f"; width {stage.width}, {stage.depth} blocks at single cells" for stage in finer)
    return said + "".join(more)


def _costs(summary: ModelSummary) -> list[tuple[str, str]]:
    _, t, h, w = summary.latent_shape
    attention = [
        (
            f"{kind} attention",
            f"{amount(costs.attention_flops)}FLOP of {amount(costs.forward_flops)}FLOP a forward",
        )
        for kind, costs in summary.attention.items()
    ]
    ratio = []
    if summary.attention_ratio is not None:
        said = f"{summary.attention_ratio:.1f} times the attention operations"
        ratio = [("joint / factorized", said)]
    memory = [
        (
            f"memory, {dtype}",
            f"{amount(held.peak_bytes, 'B')}: weights {amount(held.weights_bytes, 'B')}, and "
            f"{amount(held.activations_bytes, 'B')} to denoise or "
            f"{amount(held.decode_bytes, 'B')} to decode",
        )
        for dtype, held in summary.memory.items()
    ]
    return [
        ("clip", f"{summary.width}×{summary.height}, {summary.num_frames} frames"),
        ("latents", f"{w}×{h}, {t} frames, {summary.compression_ratio:.1f}× smaller"),
        ("tokens", f"{summary.num_tokens:,}"),
        *attention,
        *ratio,
        ("whole clip", _whole_clip(summary)),
        *memory,
    ]


def _whole_clip(summary: ModelSummary) -> str:
    steps = f"{amount(summary.clip_flops)}FLOP: {_steps(summary)}, decode"
    return steps if summary.estimated_s is None else f"{steps}; about {summary.estimated_s:,.2g} s"


def _steps(summary: ModelSummary) -> str:
    return f"{summary.num_inference_steps}{' guided' if summary.guided else ''} steps"


def millions(count: int) -> str:
    """A number of parameters: 6704896 is 6.7 M, 1092326848 is 1,092 M."""
    value = count / 1e6
    return f"{value:,.0f} M" if value >= 100 else f"{value:.1f} M"


def amount(value: float, unit: str = "") -> str:
    """A number in two or three digits with a prefix: 7741440 is 7.7 M, or 7.7 MB with unit B."""
    scale = 0
    while value >= 999.5 and scale < len(_PREFIXES) - 1:
        value /= 1000
        scale += 1
    digits = f"{value:.3g}" if value >= 10 or scale == 0 else f"{value:.1f}"
    return f"{digits} {_PREFIXES[scale]}{unit}".rstrip()
