"""`videogen generate`: prompts in, clips out."""

from __future__ import annotations

from videogen_pipelines.cli import generate_options as options
from videogen_pipelines.cli.described_job import job_of
from videogen_pipelines.cli.run import perform
from videogen_pipelines.cli.run_options import RunOptions
from videogen_pipelines.cli.shipped_code import check_code


def generate(
    manifest: options.Manifest = None,
    out: options.Out = "out",
    prompt: options.Prompts = None,
    negative_prompt: options.NegativePrompt = None,
    num_frames: options.NumFrames = None,
    seed: options.Seed = None,
    duration: options.Duration = None,
    image: options.Image = None,
    video: options.Video = None,
    loop: options.Loop = False,
    num_samples: options.NumSamples = None,
    limit: options.Limit = None,
    column_map: options.ColumnMap = None,
    extra_columns: options.OnExtraColumns = options.ExtraColumns.ERROR,
    bad_rows: options.OnBadRows = options.BadRows.FAIL,
    model: options.Model = None,
    lora: options.Loras = None,
    gangs: options.Gangs = None,
    grid: options.Grid = None,
    evaluate: options.Evaluate = False,
    output_format: options.Format = None,
    config: options.Config = None,
    overrides: options.Overrides = None,
    dry_run: options.DryRun = False,
    log_interval: options.LogInterval = 10.0,
    json: options.AsJson = False,
) -> None:
    """Make a clip for every row of a manifest, or for every --prompt.

    The same command continues an interrupted run; clips that are there are not made again.

    Example: videogen generate examples/prompts.jsonl --out out

    Example: videogen generate --prompt "a red circle moves right" --seed 7
    """
    said = locals()
    check_code()
    job = job_of(RunOptions.read(said))
    perform(job, log_interval, dry_run=dry_run, as_json=json)
