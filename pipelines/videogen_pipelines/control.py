"""What a running coordinator can be told through storage: to stop (`control/stop.json`)."""

from __future__ import annotations

import getpass
import os
import socket
from typing import Literal

from pydantic import AwareDatetime, Field, ValidationError

from videogen.errors import StorageError
from videogen.storage import MissingKeyError, Storage
from videogen_pipelines.sidecar import Record, now

STOP_KEY = "control/stop.json"


class StopRequest(Record):
    """Asks one invocation, and no later one, to start nothing more and end soon."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    invocation: int = Field(ge=1)
    asked_at: AwareDatetime
    by: str


def ask_stop(storage: Storage, invocation: int) -> StopRequest:
    """Ask an invocation to stop.

    Raises:
        StorageError: the storage failed.
    """
    request = StopRequest(invocation=invocation, asked_at=now(), by=_who())
    storage.put(STOP_KEY, request.to_json())
    return request


def read_stop(storage: Storage) -> StopRequest | None:
    """What was asked last, of whichever invocation.

    Raises:
        StorageError: the storage failed, or holds something else there.
    """
    try:
        return StopRequest.model_validate_json(storage.read(STOP_KEY))
    except MissingKeyError:
        return None
    except ValidationError as error:
        raise StorageError(
            f"{storage.uri}/{STOP_KEY}: got {error.errors()[0]['msg']}, expected what 'videogen "
            "cancel' writes. Fix: delete it, then cancel again."
        ) from error


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = str(os.getuid())
    return f"{user} on {socket.gethostname()}"
