"""The job of an earlier invocation, put together again from what its record says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from videogen.errors import ConfigError, InvalidRequestError, WeightsError
from videogen.requests import SamplingDefaults
from videogen.storage import Storage
from videogen_pipelines.config import RunConfig
from videogen_pipelines.evaluation.sweep import SweepInputs, grid_of
from videogen_pipelines.inputs import Inputs, ManifestInputs, PromptInputs
from videogen_pipelines.job import Job, LoadedModel
from videogen_pipelines.manifest import ManifestOptions
from videogen_pipelines.manifest.rows import CheckRequest
from videogen_pipelines.run_record import RunRecord, read_run_record

_AGAIN = "run the 'videogen generate' command of that run again"


def recorded_job(storage: Storage) -> Job:
    """The job of the latest invocation on `storage`, checked like a new one.

    Raises:
        StorageError: this is no run directory, or it cannot be read.
        ConfigError: the record does not say enough; it is of an earlier version.
        InvalidRequestError: the manifest is not there any more, or has changed since.
        WeightsError: the model is not there any more, or has changed since.
    """
    record = read_run_record(storage)
    if record.inputs is None:
        raise ConfigError(
            f"{storage.uri}: got a run record that does not say how its rows were read, expected "
            f"one of this version. Fix: {_AGAIN}."
        )
    config = _config_of(record)
    model = LoadedModel.read(record.inputs["model"], config.model.decoder, config.model.variant)
    if model.stamp.digest != record.model.digest:
        raise WeightsError(
            f"model '{model.name}': got digest {model.stamp.digest[:12]}, expected "
            f"{record.model.digest[:12]} as in the run. Fix: restore that model."
        )
    inputs = inputs_of(record.inputs, model.defaults(config), model.check)
    job = Job.checked(config, model, inputs, storage)
    if job.report.digest != record.manifest_digest:
        raise InvalidRequestError(
            f"{job.report.path}: got another content than in the run, expected the same rows. "
            f"Fix: restore it, or {_AGAIN}: rows that are done stay done."
        )
    return job


def inputs_of(
    recipe: Mapping[str, Any], defaults: SamplingDefaults, check_request: CheckRequest
) -> Inputs:
    """The inputs that `Inputs.recipe()` described."""
    if recipe["kind"] == "prompts":
        return PromptInputs(
            recipe["prompts"],
            defaults,
            check_request,
            recipe["seed"],
            recipe["num_samples"],
            recipe.get("fields", {}),
            recipe.get("folder", "."),
        )
    if recipe["kind"] == "sweep":
        inner = inputs_of(recipe["inputs"], defaults, check_request)
        return SweepInputs(inner, grid_of(recipe["grid"]), check_request)
    options = ManifestOptions(**recipe["options"])
    return ManifestInputs(recipe["path"], defaults, check_request, options, recipe["bad_rows"])


def _config_of(record: RunRecord) -> RunConfig:
    try:
        return RunConfig.model_validate_json(json.dumps(record.config))
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"run record {record.invocation}: got {'.'.join(map(str, first['loc']))}: "
            f"{first['msg']}, expected a configuration of this version. Fix: {_AGAIN}."
        ) from error
