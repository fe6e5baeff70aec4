"""How commands that make things end: by the state of their run, or stopped by somebody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from videogen_pipelines.cli.errors import INTERRUPTED, OK, SOME_FAILED

if TYPE_CHECKING:
    from rich.console import Console

CODES = {"complete": OK, "some_failed": SOME_FAILED, "interrupted": INTERRUPTED}
"""State of a run -> exit code."""


@contextmanager
def stoppable(progress: Console) -> Iterator[None]:
    """Have a second Ctrl-C end the command at once, in one sentence and with its own exit code."""
    try:
        yield
    except KeyboardInterrupt:
        progress.print("stopped at once; the same command continues")
        raise typer.Exit(INTERRUPTED) from None
