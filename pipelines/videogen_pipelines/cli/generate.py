"""`videogen generate`: prompts in, clips out."""

from __future__ import annotations

import json as json_module
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from videogen_pipelines.cli.outcomes import CODES, stoppable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from videogen_pipelines.generate import Outcome
    from videogen_pipelines.inputs import Inputs
    from videogen_pipelines.job import Job


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


def generate(
    manifest: Annotated[
        str | None,
        typer.Argument(help="Rows of prompts: .jsonl, .csv, .parquet or .txt.", show_default=False),
    ] = None,
    out: Annotated[
        str, typer.Option("--out", "-o", help="Where the clips go; run again to continue.")
    ] = "out",
    prompt: Annotated[
        list[str] | None,
        typer.Option("--prompt", "-p", help="A prompt instead of a manifest; repeatable."),
    ] = None,
    negative_prompt: Annotated[
        str | None, typer.Option(help="What clips should not show, unless a row says otherwise.")
    ] = None,
    num_frames: Annotated[
        int | None, typer.Option(help="Frames of a clip, unless a row says otherwise.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the prompts; without it a hash of each.")
    ] = None,
    duration: Annotated[
        float | None, typer.Option(min=0, help="Seconds of the prompts' clips.")
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="A picture that the prompts' clips start with.")
    ] = None,
    video: Annotated[
        str | None, typer.Option(help="A video whose end the prompts' clips go on from.")
    ] = None,
    loop: Annotated[
        bool, typer.Option("--loop", help="The prompts' clips end where they begin.")
    ] = False,
    num_samples: Annotated[
        int | None, typer.Option(min=1, help="Clips per prompt, each with a seed of its own.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Read so many rows only.")] = None,
    column_map: Annotated[
        list[str] | None,
        typer.Option("--map", help="field=column where the manifest has another name; repeatable."),
    ] = None,
    extra_columns: Annotated[
        ExtraColumns, typer.Option(help="Columns that are no field of a request.")
    ] = ExtraColumns.ERROR,
    bad_rows: Annotated[
        BadRows, typer.Option(help="Refuse a manifest with bad rows, or skip and report them.")
    ] = BadRows.FAIL,
    model: Annotated[str | None, typer.Option(help="A preset name or a model folder.")] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(help="PATH[:scale] of adapters (.safetensors) to merge; repeatable."),
    ] = None,
    gangs: Annotated[
        int | None, typer.Option(min=1, help="Model replicas that work side by side.")
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(help="field=value,value,…: make every row with each; repeatable. See sweep."),
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Score each clip while it is made.")
    ] = False,
    output_format: Annotated[
        OutputFormat | None,
        typer.Option(
            "--format", help="webdataset: put the clips into shards as well.", show_default=False
        ),
    ] = None,
    config: Annotated[str | None, typer.Option("--config", "-c", help="A YAML file.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="A value of the configuration: sampling.eta=0.5; repeatable."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the plan, make nothing.")
    ] = False,
    log_interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between progress lines outside a terminal.")
    ] = 10.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Make a clip for every row of a manifest, or for every --prompt.

    The same command continues an interrupted run; clips that are there are not made again.

    Example: videogen generate examples/prompts.jsonl --out out

    Example: videogen generate --prompt "a red circle moves right" --seed 7
    """
    check_code()
    check_usage(locals())
    job = job_of(
        manifest=manifest,
        out=out,
        prompt=prompt,
        negative_prompt=negative_prompt,
        num_frames=num_frames,
        seed=seed,
        duration=duration,
        image=image,
        video=video,
        loop=loop,
        num_samples=num_samples,
        limit=limit,
        column_map=column_map,
        extra_columns=extra_columns,
        bad_rows=bad_rows,
        model=model,
        lora=lora,
        gangs=gangs,
        config=config,
        overrides=overrides,
        evaluate=evaluate,
        output_format=output_format,
        grid=grid,
    )
    perform(job, log_interval, dry_run=dry_run, as_json=json)


def perform(job: Job, log_interval_s: float, *, dry_run: bool, as_json: bool) -> None:
    """Run a job, or only say what it would do; ends with its exit code."""
    from rich.console import Console

    if dry_run:
        from videogen_pipelines.cli.dry_run import say_what_would_be_done

        say_what_would_be_done(job, Console(), as_json=as_json)
    else:
        _run(job, Console(), Console(stderr=True), log_interval_s, as_json=as_json)


def job_of(
    *,
    manifest: str | None,
    out: str,
    prompt: list[str] | None,
    negative_prompt: str | None,
    num_frames: int | None,
    seed: int | None,
    num_samples: int | None,
    limit: int | None,
    column_map: list[str] | None,
    extra_columns: ExtraColumns,
    bad_rows: BadRows,
    duration: float | None = None,
    image: str | None = None,
    video: str | None = None,
    loop: bool = False,
    model: str | None,
    lora: list[str] | None = None,
    gangs: int | None,
    config: str | None,
    overrides: list[str] | None,
    evaluate: bool = False,
    output_format: OutputFormat | None = None,
    grid: list[str] | None = None,
) -> Job:
    """The run that these options of the command line describe, checked."""
    from videogen_pipelines.config import load_run_config, override
    from videogen_pipelines.job import Job, LoadedModel

    fields = {"duration_s": duration, "image": image, "video": video, "loop": loop or None}
    named = {
        "model.name": model,
        "model.loras": _loras(lora or []) or None,
        "sampling.negative_prompt": negative_prompt,
        "sampling.num_frames": num_frames,
        "cluster.gangs": gangs,
        "evaluate.during": evaluate or None,
        "output.format": output_format,
    }
    flags = [override(path, value) for path, value in named.items() if value is not None]
    settings = load_run_config(config, [*(overrides or []), *flags])
    loaded = LoadedModel.read(settings.model.name, settings.model.decoder, settings.model.variant)
    inputs = _inputs(
        manifest,
        prompt or [],
        loaded.defaults(settings),
        loaded.check,
        seed=seed,
        fields={name: value for name, value in fields.items() if value is not None},
        num_samples=num_samples,
        limit=limit,
        column_map=column_map or [],
        extra_columns=ExtraColumns(extra_columns),
        bad_rows=BadRows(bad_rows),
    )
    if grid:
        from videogen_pipelines.evaluation.sweep import SweepInputs, parse_grid

        inputs = SweepInputs(inputs, parse_grid(grid), loaded.check)
    return Job.check(settings, loaded, inputs, out)


def check_code() -> None:
    """Refuse to run as a Ray job that was submitted with other code than this.

    Raises:
        ClusterError: the digests differ.
    """
    from videogen_cluster.jobs import this_job

    expected = this_job().code
    if expected is None:
        return
    from videogen_cluster.handshake import code_digest
    from videogen_cluster.session import ClusterError

    if expected != code_digest():
        raise ClusterError(
            f"videogen: got code {code_digest()} on the cluster, expected {expected} as where the "
            "job was submitted. Fix: submit with --ship always, or install the same code there."
        )


OF_PROMPTS = ("seed", "duration", "image", "video", "loop")
"""Options that rows of a manifest say themselves."""


def check_usage(params: Mapping[str, Any]) -> None:
    """Refuse options of `generate`, by the names of its parameters, that exclude each other.

    Raises:
        BadParameter: they do.
    """
    manifest = params["manifest"]
    if (manifest is None) == (not params["prompt"]):
        raise typer.BadParameter("give a manifest or at least one --prompt, and not both")
    for name in OF_PROMPTS:
        if manifest is not None and params[name] not in (None, False):
            field = "duration_s" if name == "duration" else name
            raise typer.BadParameter(
                f"--{name} belongs to --prompt; in a manifest, rows say '{field}'"
            )


def _loras(said: list[str]) -> list[dict[str, Any]]:
    """What --lora says, as the configuration says it."""
    from videogen.models.variant import Lora

    return [{"path": str(lora.path), "scale": lora.scale} for lora in map(Lora.parse, said)]


def _inputs(
    manifest: str | None,
    prompts: list[str],
    defaults: Any,
    check_request: Any,
    *,
    seed: int | None,
    fields: Mapping[str, Any],
    num_samples: int | None,
    limit: int | None,
    column_map: list[str],
    extra_columns: ExtraColumns,
    bad_rows: BadRows,
) -> Inputs:
    from videogen_pipelines.inputs import ManifestInputs, PromptInputs
    from videogen_pipelines.manifest import ManifestOptions, parse_column_map

    if manifest is None:
        return PromptInputs(prompts, defaults, check_request, seed, num_samples, fields)
    options = ManifestOptions(
        columns=parse_column_map(column_map),
        extra_columns=extra_columns.value,
        num_samples=num_samples,
        limit=limit,
    )
    return ManifestInputs(manifest, defaults, check_request, options, bad_rows.value)


def _run(
    job: Job, console: Console, progress: Console, log_interval_s: float, *, as_json: bool
) -> None:
    from videogen_pipelines.generate import generate as generate_clips
    from videogen_pipelines.summary import summary_table

    with stoppable(progress):
        outcome = generate_clips(job, progress, log_interval_s)
    code = CODES[outcome.state]
    if as_json:
        typer.echo(json_module.dumps({**outcome.to_dict(), "exit_code": code}, indent=2))
    else:
        console.print(summary_table(outcome.summary, outcome.uri))
        if outcome.evaluation is not None:
            from videogen_pipelines.evaluation.summary import brief_table

            console.print(brief_table(outcome.evaluation))
        console.print(_closing(outcome), soft_wrap=True, highlight=False)
    raise typer.Exit(code)


def _closing(outcome: Outcome) -> str:
    counts = outcome.counts
    lines = [f"{counts.done:,} of {counts.rows:,} rows are clips"]
    if counts.failed:
        lines[0] += f", {counts.failed:,} failed"
    if outcome.state == "interrupted":
        lines.append(f"interrupted with {counts.pending:,} to go; the same command continues")
    elif counts.failed:
        lines.append(f"why: {outcome.uri}/errors.jsonl; the same command tries them again")
    if outcome.contact_sheet:
        lines.append(f"contact sheet: {outcome.uri}/{outcome.contact_sheet}")
    if outcome.shards:
        lines.append(f"{outcome.shards:,} shards: {outcome.uri}/shards")
    return "\n".join(lines)
