"""From the options of `videogen generate` to the job that they describe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from videogen_pipelines.cli.run_options import RunOptions
    from videogen_pipelines.config import RunConfig
    from videogen_pipelines.inputs import Inputs
    from videogen_pipelines.job import Job, LoadedModel


def job_of(options: RunOptions) -> Job:
    """The run that options of the command line describe, checked.

    Raises:
        VideogenError: see `load_run_config`, `LoadedModel.read` and `Job.check`.
    """
    from videogen_pipelines.job import Job, LoadedModel

    settings = _settings(options)
    section = settings.model
    loaded = LoadedModel.read(section.name, section.decoder, section.variant)
    inputs = _inputs(options, settings, loaded)
    if options.grid:
        from videogen_pipelines.evaluation.sweep import SweepInputs, parse_grid

        inputs = SweepInputs(inputs, parse_grid(options.grid), loaded.check)
    return Job.check(settings, loaded, inputs, options.out)


def _settings(options: RunOptions) -> RunConfig:
    """The configuration: options of their own name win over --set, and that over the file."""
    from videogen_pipelines.config import load_run_config, override

    named = {
        "model.name": options.model,
        "model.loras": _loras(options.lora or []) or None,
        "sampling.negative_prompt": options.negative_prompt,
        "sampling.num_frames": options.num_frames,
        "cluster.gangs": options.gangs,
        "evaluate.during": options.evaluate or None,
        "output.format": options.output_format,
    }
    flags = [override(path, value) for path, value in named.items() if value is not None]
    return load_run_config(options.config, [*(options.overrides or []), *flags])


def _loras(said: Sequence[str]) -> list[dict[str, Any]]:
    """What --lora says, as the configuration says it."""
    from videogen.models.variant import Lora

    return [{"path": str(lora.path), "scale": lora.scale} for lora in map(Lora.parse, said)]


def _inputs(options: RunOptions, settings: RunConfig, loaded: LoadedModel) -> Inputs:
    defaults = loaded.defaults(settings)
    if options.manifest is None:
        from videogen_pipelines.inputs import PromptInputs

        seed, num_samples = options.seed, options.num_samples
        prompts, fields = list(options.prompt or []), _fields(options)
        return PromptInputs(prompts, defaults, loaded.check, seed, num_samples, fields)
    from videogen_pipelines.inputs import ManifestInputs
    from videogen_pipelines.manifest import ManifestOptions, parse_column_map

    reading = ManifestOptions(
        columns=parse_column_map(options.column_map or []),
        extra_columns=options.extra_columns.value,
        num_samples=options.num_samples,
        limit=options.limit,
    )
    bad_rows = options.bad_rows.value
    return ManifestInputs(options.manifest, defaults, loaded.check, reading, bad_rows)


def _fields(options: RunOptions) -> dict[str, Any]:
    """What the clips of all prompts have in common, as a row would say it."""
    fields = {
        "duration_s": options.duration,
        "image": options.image,
        "video": options.video,
        "loop": options.loop or None,
    }
    return {name: value for name, value in fields.items() if value is not None}
