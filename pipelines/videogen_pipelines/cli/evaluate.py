"""`videogen evaluate RUN_OR_FOLDER`: how coherent clips are over time, clip by clip and in all."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated

import typer

from videogen_pipelines.cli.outcomes import CODES, stoppable

if TYPE_CHECKING:
    from rich.console import Console

    from videogen_pipelines.evaluation.evaluate import EvaluationOutcome

SHOWN_FAILURES = 10


def evaluate(
    clips: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN_OR_FOLDER",
            help="The output of 'videogen generate', or any videos.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", "-o", help="Where metrics/ goes; else beside the clips.", show_default=False
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", "-m", help="A metric or a family such as drift; repeatable."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="A run or folder to compare with: Frechet distance, and PSNR and SSIM where ids "
            "are the same.",
            show_default=False,
        ),
    ] = None,
    validate: Annotated[
        bool,
        typer.Option(
            "--validate", help="Judge the metrics instead: on clean clips, spoiled in graded ways."
        ),
    ] = False,
    num_clips: Annotated[
        int, typer.Option(min=2, help="Of --validate: half rendered, half by the model.")
    ] = 64,
    gangs: Annotated[
        int | None, typer.Option(min=1, help="Processes that score side by side.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to join: auto, host:6379, ray://host:10001.")
    ] = None,
    config: Annotated[str | None, typer.Option("--config", "-c", help="A YAML file.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="A value of the configuration: evaluate.size=96; repeatable."),
    ] = None,
    log_interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between progress lines outside a terminal.")
    ] = 10.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Score the clips of a run, or of any folder, without downloading anything.

    Writes metrics/clips.parquet (a row per clip), curves, metrics/summary.json and sets.json. The
    same command continues what was interrupted. Ends with 1 if a clip could not be scored, or if
    with --validate a corruption is not caught.

    Example: videogen evaluate out

    Example: videogen evaluate s3://bucket/videos --out scores --metric coherence --metric motion

    Example: videogen evaluate out --reference s3://bucket/real-clips
    """
    from rich.console import Console

    from videogen_pipelines.cli.shipped_code import check_code
    from videogen_pipelines.config import override
    from videogen_pipelines.evaluation.evaluate import evaluate as evaluate_clips
    from videogen_pipelines.evaluation.job import EvaluationJob

    check_code()
    if validate:
        raise typer.Exit(_validate(clips, out, num_clips, gangs, as_json=json))
    if clips is None:
        raise typer.BadParameter("give a run or a folder of videos, or --validate")
    named = {
        "evaluate.metrics": metrics or None,
        "cluster.gangs": gangs,
        "cluster.address": address,
    }
    flags = [override(path, value) for path, value in named.items() if value is not None]
    job = EvaluationJob.check(clips, out, config, [*(overrides or []), *flags], reference)
    progress = Console(stderr=True)
    with stoppable(progress):
        outcome = evaluate_clips(job, progress, log_interval)
    code = CODES[outcome.state]
    if json:
        typer.echo(json_module.dumps({**outcome.to_dict(), "exit_code": code}, indent=2))
    else:
        show(outcome, Console())
    raise typer.Exit(code)


def _validate(
    clips: str | None, out: str | None, num_clips: int, processes: int | None, *, as_json: bool
) -> int:
    """Judge the metrics; returns the exit code."""
    from dataclasses import asdict
    from pathlib import Path

    from rich.console import Console

    from videogen.evaluation.validation import markdown
    from videogen_pipelines.cli.errors import OK, SOME_FAILED
    from videogen_pipelines.evaluation.validate import validate

    if clips is not None or (out is not None and "://" in out):
        raise typer.BadParameter("--validate takes no clips, and an --out on this machine")
    progress = Console(stderr=True)
    with stoppable(progress):
        found = validate(Path(out or "out/validation"), num_clips, processes, progress)
    typer.echo(json_module.dumps(asdict(found), indent=2) if as_json else markdown(found))
    if found.missed:
        progress.print(f"not caught with an AUC of 0.95: {', '.join(found.missed)}")
    return SOME_FAILED if found.missed else OK


def show(outcome: EvaluationOutcome, console: Console) -> None:
    """Print the table and how it ended."""
    from videogen_pipelines.evaluation.sets_table import sets_table
    from videogen_pipelines.evaluation.summary import summary_table, sweep_table

    if outcome.summary is None:
        console.print(f"interrupted after {outcome.scored_now:,} clips; the same command continues")
        return
    console.print(summary_table(outcome.summary, f"{outcome.uri} · {outcome.clips:,} clips"))
    if outcome.summary["sweep"] is not None:
        console.print(sweep_table(outcome.summary))
    if (sets := sets_table(outcome.summary["sets"])) is not None:
        console.print(sets)
    for why, names in _skipped(outcome.summary["skipped"]).items():
        line = f"skipped {', '.join(names)}: {why}"
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    for name, why in list(outcome.failures.items())[:SHOWN_FAILURES]:
        console.print(f"failed {name}: {why}", soft_wrap=True, markup=False)
    if outcome.frames_now:
        speed = outcome.frames_now / outcome.elapsed_s
        console.print(f"{outcome.frames_now:,} frames in {outcome.elapsed_s:.1f} s, {speed:,.0f}/s")
    console.print(f"{outcome.uri}/metrics/clips.parquet, summary.json", soft_wrap=True)


def _skipped(skipped: dict[str, dict[str, int]]) -> dict[str, list[str]]:
    """The metrics without numbers by what most of their clips lack."""
    found: dict[str, list[str]] = {}
    for name, why in skipped.items():
        reason, count = max(why.items(), key=lambda item: item[1])
        found.setdefault(f"{count:,} clips: {reason}", []).append(name)
    return found
