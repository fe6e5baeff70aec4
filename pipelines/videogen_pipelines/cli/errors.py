"""From errors to messages and exit codes; tracebacks are for bugs, not for people's mistakes."""

from __future__ import annotations

import json
import os
import sys
import traceback

from videogen.errors import (
    ConfigError,
    InvalidRequestError,
    OutputConflictError,
    VideogenError,
    WeightsError,
)
from videogen_pipelines.redact import redact

OK, SOME_FAILED, BAD_INPUT, ENVIRONMENT, INTERRUPTED = 0, 1, 2, 3, 130
_BAD_INPUT_ERRORS = (InvalidRequestError, ConfigError, OutputConflictError, WeightsError)
TRACEBACK_VARIABLE = "VIDEOGEN_TRACEBACK"


def exit_code(error: BaseException) -> int:
    """2 for bad input or configuration, 3 for everything else."""
    return BAD_INPUT if isinstance(error, _BAD_INPUT_ERRORS) else ENVIRONMENT


def report(error: BaseException, *, as_json: bool) -> int:
    """Tell the user what went wrong; returns the exit code.

    Args:
        as_json: write a JSON object to standard output as well, for machines.
    """
    code = exit_code(error)
    if not isinstance(error, VideogenError) or os.environ.get(TRACEBACK_VARIABLE):
        sys.stderr.write(redact("".join(traceback.format_exception(error))))
    sys.stderr.write(f"{redact(_message(error))}\n")
    if as_json:
        found = {"error": type(error).__name__, "message": redact(str(error)), "exit_code": code}
        sys.stdout.write(json.dumps(found) + "\n")
    return code


def _message(error: BaseException) -> str:
    if isinstance(error, VideogenError):
        return f"error: {error}"
    return (
        f"error: got an unexpected {type(error).__name__}: {error}. Fix: please report it with the "
        "lines above."
    )
