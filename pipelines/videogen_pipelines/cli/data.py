"""`videogen data`: videos of one's own become shards of clips, and shards become latents."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated

import typer

from videogen_pipelines.cli.outcomes import CODES, stoppable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from videogen_pipelines.data.report import PackReport

SHOWN_FAILURES = 10

app = typer.Typer(no_args_is_help=True, help="Make training data of videos.")

Out = Annotated[str, typer.Option("--out", "-o", help="Where shards go.", show_default=False)]
Gangs = Annotated[int | None, typer.Option(min=1, help="Processes that work side by side.")]
Address = Annotated[
    str | None, typer.Option(help="Ray cluster to join: auto, host:6379, ray://host:10001.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="A value of the configuration: cluster.max_attempts=5; repeatable."),
]
LogInterval = Annotated[
    float, typer.Option(min=0.1, help="Seconds between progress lines outside a terminal.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@app.command()
def pack(
    videos: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER_OR_S3", help="Videos, or the output of a run.", show_default=False
        ),
    ],
    out: Out,
    index: Annotated[
        str | None,
        typer.Option(
            help="Captions: a CSV, JSONL or Parquet file with columns such as file and caption; "
            "else NAME.txt or NAME.json beside each video.",
            show_default=False,
        ),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            help="What clips must reach: 'motion.total>=2'; repeatable, replaces the default of "
            "that metric. 'none' drops all defaults.",
            show_default=False,
        ),
    ] = None,
    cuts: Annotated[
        str, typer.Option(help="Where scenes change: split videos there, or keep them whole.")
    ] = "split",
    min_frames: Annotated[int, typer.Option(min=1, help="Shorter scenes are dropped.")] = 5,
    max_frames: Annotated[int, typer.Option(min=1, help="Longer scenes are divided.")] = 257,
    min_side: Annotated[
        int, typer.Option(min=1, help="Videos with a shorter side in px are dropped.")
    ] = 32,
    captions: Annotated[
        str, typer.Option(help="required drops videos without one; optional takes them.")
    ] = "required",
    near: Annotated[
        int,
        typer.Option(
            min=0,
            max=64,
            help="Copies: perceptual hashes differ in at most so many of 256 bits; 0: equal files.",
        ),
    ] = 16,
    shard_clips: Annotated[int, typer.Option(min=1, help="Clips in a shard, at most.")] = 1000,
    shard_mb: Annotated[int, typer.Option(min=1, help="MiB in a shard, about.")] = 256,
    gangs: Gangs = None,
    address: Address = None,
    overrides: Overrides = None,
    log_interval: LogInterval = 10.0,
    json: Json = False,
) -> None:
    """Pack videos with captions into WebDataset shards: cut, filtered, without copies.

    Every video ends in a shard or in dropped.jsonl.gz with the reason. The same command continues
    what was interrupted, and takes in what was added. Ends with 1 if a video could not be fetched.

    Example: videogen data pack videos --out shards

    Example: videogen data pack s3://bucket/raw --out s3://bucket/shards --index captions.parquet
    """
    from rich.console import Console

    from videogen_pipelines.data.pack import pack as pack_videos
    from videogen_pipelines.data.pack_job import PackJob
    from videogen_pipelines.data.settings import PackSettings, parse_accept

    settings = PackSettings.check(
        accept=parse_accept(accept or []),
        cuts=cuts,
        min_frames=min_frames,
        max_frames=max_frames,
        min_side_px=min_side,
        captions=captions,
        near=near,
        shard_clips=shard_clips,
        shard_bytes=shard_mb * 2**20,
    )
    job = PackJob.check(videos, out, settings, index, _settings(overrides, gangs, address))
    progress = Console(stderr=True)
    with stoppable(progress):
        report = pack_videos(job, progress, log_interval)
    code = CODES[report.state]
    if json:
        typer.echo(json_module.dumps({**report.to_dict(), "exit_code": code}, indent=2))
    else:
        _show_pack(report, Console())
    raise typer.Exit(code)


@app.command()
def encode(
    shards: Annotated[
        str,
        typer.Argument(metavar="SHARDS", help="The output of 'data pack'.", show_default=False),
    ],
    out: Out,
    model: Annotated[
        str, typer.Option(help="Whose VAE and text encoder: a preset, a folder, s3://….")
    ] = "default",
    num_frames: Annotated[
        int | None,
        typer.Option(
            min=1, help="Of each clip, from its start; else as many as fit.", show_default=False
        ),
    ] = None,
    height: Annotated[
        int | None, typer.Option(min=1, help="Scale and crop to it; else the clip's own.")
    ] = None,
    width: Annotated[int | None, typer.Option(min=1, help="See --height.")] = None,
    fps: Annotated[
        float | None, typer.Option(help="Leave out frames of faster clips; else all are taken.")
    ] = None,
    gangs: Gangs = None,
    address: Address = None,
    overrides: Overrides = None,
    log_interval: LogInterval = 10.0,
    json: Json = False,
) -> None:
    """Encode the clips of shards: VAE latents and text embeddings, ready for training.

    Writes a shard for each shard. The same command continues what was interrupted. Ends with 1 if a
    shard could not be encoded, or a clip of it could not.

    Example: videogen data encode shards --out latents --model default
    """
    from rich.console import Console

    from videogen_pipelines.config import override
    from videogen_pipelines.data.encode import EncodeJob
    from videogen_pipelines.data.encode import encode as encode_shards
    from videogen_pipelines.data.encode_workload import ClipShape

    said = [*_settings(overrides, gangs, address), override("model.name", model)]
    job = EncodeJob.check(shards, out, ClipShape.check(num_frames, height, width, fps), said)
    progress = Console(stderr=True)
    with stoppable(progress):
        report = encode_shards(job, progress, log_interval)
    code = CODES[report.state]
    if json:
        typer.echo(json_module.dumps({**report.to_dict(), "exit_code": code}, indent=2))
    else:
        console = Console()
        console.print(f"{report.clips:,} clips in {report.shards:,} shards: {report.uri}")
        _show_failures({**report.failures, **report.skipped}, console)
    raise typer.Exit(code)


def _settings(overrides: list[str] | None, gangs: int | None, address: str | None) -> list[str]:
    from videogen_pipelines.config import override

    named = {"cluster.gangs": gangs, "cluster.address": address}
    flags = [override(path, value) for path, value in named.items() if value is not None]
    return [*(overrides or []), *flags]


def _show_pack(report: PackReport, console: Console) -> None:
    if report.state == "interrupted":
        console.print("interrupted; the same command continues")
    elif report.state == "complete":
        console.print(
            f"{report.videos:,} videos: {report.clips:,} clips in {report.shards:,} shards, "
            f"{report.elapsed_s:.1f} s this time"
        )
        for reason, count in report.dropped.items():
            console.print(f"dropped {count:,}: {reason}", highlight=False)
        for bucket, count in report.buckets.items():
            console.print(f"  {bucket}: {count:,} clips", highlight=False)
    _show_failures(report.failures, console)
    console.print(f"{report.uri}/shards, summary.json, dropped.jsonl.gz", soft_wrap=True)


def _show_failures(failures: Mapping[str, str], console: Console) -> None:
    for name, why in list(failures.items())[:SHOWN_FAILURES]:
        console.print(f"failed {name}: {why}", soft_wrap=True, markup=False)
    if len(failures) > SHOWN_FAILURES:
        console.print(f"and {len(failures) - SHOWN_FAILURES:,} more")
