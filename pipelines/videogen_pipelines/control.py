"""What is said about a run through its storage, but not by its coordinator.

`control/stop.json` tells one invocation to stop; `control/submitted.json` says that a job was sent
to a cluster, which may take a while until it starts.
"""

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
SUBMITTED_KEY = "control/submitted.json"


class StopRequest(Record):
    """Asks one invocation, and no later one, to start nothing more and end soon."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    invocation: int = Field(ge=1)
    asked_at: AwareDatetime
    by: str


class Submitted(Record):
    """The latest job that was submitted for a run."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    job_id: str
    address: str
    submitted_at: AwareDatetime


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


def note_submitted(storage: Storage, job_id: str, address: str) -> Submitted:
    """Say that a job is on its way.

    Raises:
        StorageError: the storage failed.
    """
    note = Submitted(job_id=job_id, address=address, submitted_at=now())
    storage.put(SUBMITTED_KEY, note.to_json())
    return note


def read_submitted(storage: Storage) -> Submitted | None:
    """The latest job; None if the run was never submitted, or by another version.

    Raises:
        StorageError: the storage failed.
    """
    try:
        return Submitted.model_validate_json(storage.read(SUBMITTED_KEY))
    except (MissingKeyError, ValidationError):
        return None


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = str(os.getuid())
    return f"{user} on {socket.gethostname()}"
