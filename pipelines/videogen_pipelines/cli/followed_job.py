"""A submitted job that is followed until it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from videogen_pipelines.cli.errors import ENVIRONMENT, INTERRUPTED, OK

if TYPE_CHECKING:
    from videogen_cluster.jobs import Jobs, JobView


def follow_job(jobs: Jobs, job_id: str, found: dict[str, Any], *, as_json: bool) -> int:
    """Print what a job prints until it ends, or until Ctrl-C, which leaves it running.

    Args:
        found: what is told of the job with `as_json`; its "out" is the run's.

    Returns:
        The exit code: the job's own where it has one.
    """
    try:
        job = jobs.follow(job_id, lambda text: typer.echo(text, nl=False, err=as_json))
    except KeyboardInterrupt:
        typer.echo(f"job {job_id} goes on; 'videogen cancel {found['out']}' stops it", err=True)
        return INTERRUPTED
    code = _exit_code(job)
    if as_json:
        said = {**found, "job_status": job.status, "exit_code": code}
        typer.echo(json.dumps(said, indent=2))
    elif job.exit_code is None and job.message:
        typer.echo(f"{job.status}: {job.message}", err=True)
    return code


def _exit_code(job: JobView) -> int:
    if job.exit_code is not None:
        return job.exit_code
    return {"SUCCEEDED": OK, "STOPPED": INTERRUPTED}.get(job.status, ENVIRONMENT)
