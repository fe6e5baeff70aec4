"""`videogen`: the commands and what all of them share."""

from __future__ import annotations

import importlib.metadata
import logging
import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import typer

from videogen_pipelines.cli import errors
from videogen_pipelines.cli.calibrate import calibrate
from videogen_pipelines.cli.cancel import cancel
from videogen_pipelines.cli.compare import compare
from videogen_pipelines.cli.data import app as data
from videogen_pipelines.cli.doctor import doctor
from videogen_pipelines.cli.evaluate import evaluate
from videogen_pipelines.cli.generate import generate
from videogen_pipelines.cli.logs import logs
from videogen_pipelines.cli.models import models
from videogen_pipelines.cli.plan import plan
from videogen_pipelines.cli.report import report
from videogen_pipelines.cli.retry import retry
from videogen_pipelines.cli.show import show
from videogen_pipelines.cli.status import status
from videogen_pipelines.cli.submit import submit
from videogen_pipelines.cli.sweep import sweep
from videogen_pipelines.cli.train import app as train
from videogen_pipelines.cli.verify import verify
from videogen_pipelines.redact import RedactingFormatter

app = typer.Typer(
    name="videogen",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(generate)
app.command(context_settings={"ignore_unknown_options": True})(submit)
app.command()(status)
app.command()(logs)
app.command()(cancel)
app.command()(retry)
app.command()(verify)
app.command()(show)
app.command()(evaluate)
app.command()(compare)
app.command(context_settings={"ignore_unknown_options": True})(sweep)
app.command()(report)
app.command()(models)
app.command()(plan)
app.command()(calibrate)
app.command()(doctor)
app.add_typer(data, name="data")
app.add_typer(train, name="train")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"videogen {importlib.metadata.version('videogen')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print and exit."),
    ] = False,
) -> None:
    """Turn a manifest of prompts into video clips, every prompt exactly once.

    Example: videogen generate examples/prompts.jsonl --out out
    """
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def run(arguments: list[str]) -> int:
    """Run the command line; returns the exit code."""
    try:
        app(arguments, prog_name="videogen")
    except SystemExit as ended:  # how typer ends a command, whether it went well or not
        return ended.code if isinstance(ended.code, int) else errors.OK
    except KeyboardInterrupt:
        return errors.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the one place where errors become exit codes
        return errors.report(error, as_json="--json" in arguments)
    return errors.OK


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point of the `videogen` program; SIGTERM stops it as cleanly as Ctrl-C."""
    signal.signal(signal.SIGTERM, _interrupt)
    code = run(sys.argv[1:])
    # All is done and said: a signal that comes while Python ends must not change the exit code.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(code)
