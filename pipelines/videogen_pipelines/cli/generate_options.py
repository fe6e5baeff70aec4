"""The options of `videogen generate` with their help; `submit` and `sweep` take the same."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class BadRows(StrEnum):
    """What happens to a manifest with bad rows."""

    FAIL = "fail"
    SKIP = "skip"


class OutputFormat(StrEnum):
    """What a run leaves beside its clips."""

    FILES = "files"
    WEBDATASET = "webdataset"


class ExtraColumns(StrEnum):
    """What happens to columns that are no field of a request."""

    ERROR = "error"
    METADATA = "metadata"
    IGNORE = "ignore"


# What clips are made of.
Manifest = Annotated[
    str | None,
    typer.Argument(help="Rows of prompts: .jsonl, .csv, .parquet or .txt.", show_default=False),
]
Out = Annotated[str, typer.Option("--out", "-o", help="Where the clips go; run again to continue.")]
Prompts = Annotated[
    list[str] | None,
    typer.Option("--prompt", "-p", help="A prompt instead of a manifest; repeatable."),
]
NegativePrompt = Annotated[
    str | None, typer.Option(help="What clips should not show, unless a row says otherwise.")
]
NumFrames = Annotated[
    int | None, typer.Option(help="Frames of a clip, unless a row says otherwise.")
]

# What rows of a manifest say themselves.
Seed = Annotated[
    int | None, typer.Option(min=0, help="Seed of the prompts; without it a hash of each.")
]
Duration = Annotated[float | None, typer.Option(min=0, help="Seconds of the prompts' clips.")]
Image = Annotated[str | None, typer.Option(help="A picture that the prompts' clips start with.")]
Video = Annotated[str | None, typer.Option(help="A video whose end the prompts' clips go on from.")]
Loop = Annotated[bool, typer.Option("--loop", help="The prompts' clips end where they begin.")]

# How rows are read.
NumSamples = Annotated[
    int | None, typer.Option(min=1, help="Clips per prompt, each with a seed of its own.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Read so many rows only.")]
ColumnMap = Annotated[
    list[str] | None,
    typer.Option("--map", help="field=column where the manifest has another name; repeatable."),
]
OnExtraColumns = Annotated[
    ExtraColumns, typer.Option(help="Columns that are no field of a request.")
]
OnBadRows = Annotated[
    BadRows, typer.Option(help="Refuse a manifest with bad rows, or skip and report them.")
]
Grid = Annotated[
    list[str] | None,
    typer.Option(help="field=value,value,…: make every row with each; repeatable. See sweep."),
]

# What makes them, and what else it leaves.
Model = Annotated[
    str | None,
    typer.Option(
        help="default, default-fast, default-wide, a model's folder, s3://…, or diffusers:/folder."
    ),
]
Loras = Annotated[
    list[str] | None,
    typer.Option(help="PATH[:scale] of adapters (.safetensors) to merge; repeatable."),
]
Gangs = Annotated[int | None, typer.Option(min=1, help="Model replicas that work side by side.")]
Evaluate = Annotated[bool, typer.Option("--evaluate", help="Score each clip while it is made.")]
Format = Annotated[
    OutputFormat | None,
    typer.Option(
        "--format", help="webdataset: put the clips into shards as well.", show_default=False
    ),
]
Config = Annotated[str | None, typer.Option("--config", "-c", help="A YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="A value of the configuration: sampling.eta=0.5; repeatable."),
]

# How the command itself behaves.
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, print the plan, make nothing.")
]
LogInterval = Annotated[
    float, typer.Option(min=0.1, help="Seconds between progress lines outside a terminal.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
