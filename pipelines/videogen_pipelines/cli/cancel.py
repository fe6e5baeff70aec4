"""`videogen cancel OUT`: asks a run to stop; clips in flight finish or go back."""

from __future__ import annotations

import json as json_module
import time
from typing import TYPE_CHECKING, Annotated

import typer

from videogen_pipelines.cli.errors import ENVIRONMENT, OK

if TYPE_CHECKING:
    from videogen.storage import Storage
    from videogen_pipelines.run_view import RunView

_LOOK_S = 1.0


def cancel(
    out: Annotated[str, typer.Argument(help="The output of 'generate' or 'submit'.")],
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the run has ended.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait at most.")] = 120.0,
    address: Annotated[
        str | None,
        typer.Option(help="The cluster (http://HEAD:8265): stop the job there if it does not end."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Stop a run gracefully; the command that started it continues it.

    The order goes through the output, so it works from any machine that can write there. The run
    ends within seconds, with exit code 130.

    Example: videogen cancel s3://bucket/run --wait
    """
    from videogen.storage import open_storage
    from videogen_pipelines.run_view import look

    storage = open_storage(out)
    view = look(storage)
    if view.status is not None and view.status.ended:
        _tell(view, f"nothing to stop: {view.state}", as_json=json)
        return
    if view.submitted is not None:
        _cancel_waiting(storage, view, address or view.submitted.address, as_json=json)
        return
    invocation = _ask(storage, view)
    if not wait and address is None:
        note = " (it has shown no sign of life)" if view.state == "silent" else ""
        _tell(view, f"asked to stop{note}; 'videogen status {out}' shows when it has", as_json=json)
        return
    view = _wait(storage, invocation, timeout)
    if view.status is not None and not _is_over(view, invocation) and address is not None:
        _stop_job(address, storage.uri)
        view = _wait(storage, invocation, timeout)
    over = _is_over(view, invocation)
    said = "stopped" if over else f"still {view.state} after {timeout:g} s"
    _tell(view, said, as_json=json)
    raise typer.Exit(OK if over else ENVIRONMENT)


def _cancel_waiting(storage: Storage, view: RunView, address: str, *, as_json: bool) -> None:
    """Nobody reads orders yet, so the cluster has to be asked.

    An earlier invocation that has not said its end may live on elsewhere: it is asked, too.
    """
    from videogen_pipelines.control import ask_stop
    from videogen_pipelines.status import read_status

    before = read_status(storage)
    if before is not None and not before.ended:
        ask_stop(storage, before.invocation)
    _stop_job(address, view.uri)
    _tell(view, "its job had not started and is stopped", as_json=as_json)


def _ask(storage: Storage, view: RunView) -> int:
    from videogen_pipelines.control import ask_stop
    from videogen_pipelines.run_record import read_run_record

    status = view.status
    invocation = status.invocation if status else read_run_record(storage).invocation
    ask_stop(storage, invocation)
    return invocation


def _wait(storage: Storage, invocation: int, timeout_s: float) -> RunView:
    from videogen_pipelines.run_view import look

    deadline = time.monotonic() + timeout_s
    while True:
        view = look(storage)
        if _is_over(view, invocation) or time.monotonic() > deadline:
            return view
        time.sleep(_LOOK_S)


def _is_over(view: RunView, invocation: int) -> bool:
    status = view.status
    return status is not None and (status.ended or status.invocation > invocation)


def _stop_job(address: str, uri: str) -> None:
    from videogen_cluster.jobs import Jobs
    from videogen_pipelines.submission import job_prefix

    jobs = Jobs(address)
    for job in jobs.of(job_prefix(uri)):
        if not job.ended:
            jobs.stop(job.id)


def _tell(view: RunView, said: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json_module.dumps({**view.to_dict(), "said": said}, indent=2))
    else:
        typer.echo(f"{view.uri}: {said}")
