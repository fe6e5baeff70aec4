"""`status.json`: how a run stands, written by its coordinator, read from any machine."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field, ValidationError

from videogen.errors import StorageError
from videogen.storage import MissingKeyError, Storage
from videogen_pipelines.control import StopRequest
from videogen_pipelines.sidecar import Record

STATUS_KEY = "status.json"
SILENT_S = 60.0  # written every few seconds, so a minute is not a hiccup

State = Literal[
    "starting", "running", "draining", "complete", "some_failed", "interrupted", "error"
]
ENDED: frozenset[str] = frozenset(["complete", "some_failed", "interrupted", "error"])


class _Part(Record):
    model_config = ConfigDict(extra="ignore")  # a later version may say more


class InFlight(_Part):
    """A clip that is being made, and how far it is."""

    id: str
    gang: str | None = None
    stage: str
    step: int
    total: int


class Gangs(_Part):
    """How many replicas of the model work, are wanted, and were lost since the start."""

    ready: int = 0
    total: int = 0
    lost: int = 0


class Coordinator(_Part):
    """The process that runs the run."""

    node: str
    pid: int


class Status(_Part):
    """One invocation at one moment.

    `pending` rows have no outcome yet, those in flight among them; `gpu_s`, `lost_gpu_s` and `cost`
    count all invocations on this output; on a CPU, compute seconds stand for GPU-seconds.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    invocation: int
    state: State
    message: str | None = None
    started_at: AwareDatetime
    updated_at: AwareDatetime
    rows: int | None = None
    done: int = 0
    failed: int = 0
    pending: int | None = None
    in_flight: tuple[InFlight, ...] = ()
    gangs: Gangs = Gangs()
    clips_per_minute: float | None = None
    eta_s: float | None = None
    gpu_s: float = 0.0
    lost_gpu_s: float = 0.0
    price_per_gpu_hour: float = 0.0
    cost: float | None = None
    errors_by_class: dict[str, int] = Field(default_factory=dict)
    recent_events: tuple[dict[str, Any], ...] = ()
    told: StopRequest | None = None
    coordinator: Coordinator
    job_id: str | None = None
    address: str | None = None

    @property
    def ended(self) -> bool:
        """Whether this invocation is over."""
        return self.state in ENDED

    def silent_s(self, at: datetime) -> float:
        """Seconds since the coordinator wrote this, by the reader's clock."""
        return max(0.0, (at - self.updated_at).total_seconds())


def write_status(storage: Storage, status: Status) -> None:
    """Replace `status.json`.

    Raises:
        StorageError: the storage failed.
    """
    storage.put(STATUS_KEY, status.to_json())


def read_status(storage: Storage) -> Status | None:
    """What the latest coordinator wrote; None if none ever did.

    Raises:
        StorageError: the storage failed, or `status.json` is of a newer version.
    """
    try:
        return Status.model_validate_json(storage.read(STATUS_KEY))
    except MissingKeyError:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise StorageError(
            f"{storage.uri}/{STATUS_KEY}: got {where}: {first['msg']}; expected a status of schema "
            "1. Fix: use the videogen version that wrote it."
        ) from error
