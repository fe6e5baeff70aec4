"""Ray Jobs: what this process is one of, and a client that says what is wrong in one sentence."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

_CONFIG_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray sets it, whoever submitted the job
ADDRESS_KEY = "videogen_address"


@dataclass(frozen=True, slots=True)
class ThisJob:
    """The Ray job that this process is; all None outside of one."""

    id: str | None = None
    address: str | None = None


def this_job() -> ThisJob:
    """Which Ray job runs this process, and at what address it was submitted."""
    try:
        metadata = json.loads(os.environ.get(_CONFIG_VARIABLE, "{}")).get("metadata") or {}
    except ValueError:
        return ThisJob()
    return ThisJob(metadata.get("job_submission_id"), metadata.get(ADDRESS_KEY))
