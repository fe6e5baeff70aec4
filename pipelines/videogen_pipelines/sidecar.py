"""`Sidecar`, the JSON beside every clip whose existence is the commit."""

from __future__ import annotations

import functools
import importlib.metadata
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from videogen import __version__
from videogen.errors import StorageError
from videogen.requests import ClipRequest
from videogen.storage import MissingKeyError, Storage
from videogen_pipelines.keys import clip_key, meta_key, tries_key


class DamagedSidecarError(StorageError):
    """A sidecar is there and cannot be understood."""


class Record(BaseModel):
    """What this project writes as JSON into a run directory: frozen and strict."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def to_json(self) -> bytes:
        return self.model_dump_json(by_alias=True, indent=2).encode() + b"\n"


class ModelStamp(Record):
    """Which weights made a clip."""

    name: str
    digest: str


class Timings(Record):
    """Seconds spent on one clip, stage by stage; stages may overlap other clips' stages."""

    denoise_s: float = Field(default=0.0, ge=0)
    decode_s: float = Field(default=0.0, ge=0)
    encode_s: float = Field(default=0.0, ge=0)
    commit_s: float = Field(default=0.0, ge=0)


class Parallel(Record):
    """How the ranks of a gang shared a clip, and what that took, by axis of their mesh.

    `calls` of collectives, `bytes` sent to other ranks, and `seconds` that computing waited are
    sums over all ranks, as `gpu_s` is.
    """

    seq_degree: int = Field(ge=1)
    cfg_degree: int = Field(ge=1)
    calls: dict[str, int]
    bytes: dict[str, int]
    seconds: dict[str, float]


class Try(Record):
    """One of several tries at a clip: what it scored, and what is held against it."""

    number: int = Field(ge=1)
    seed: int = Field(ge=0)
    metrics: dict[str, float]
    complaints: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        return not self.complaints


class TryHistory(Record):
    """All tries at a clip under the conditions `accept`; `chosen` numbers the one that is kept."""

    accept: dict[str, str]
    chosen: int = Field(ge=1)
    tries: tuple[Try, ...]

    @property
    def kept(self) -> Try:
        return next(one for one in self.tries if one.number == self.chosen)

    @property
    def accepted(self) -> bool:
        """Whether the clip that is kept is good enough."""
        return self.kept.accepted


class Chunks(Record):
    """How a clip longer than the model's window was made.

    `resumed` chunks were made by earlier attempts or runs, whose seconds are not in `timings`.
    """

    method: str
    count: int = Field(ge=1)
    resumed: int = Field(default=0, ge=0)


class Sidecar(Record):
    """Everything known about one committed clip; `sha256` and `bytes` are of the file at `key`.

    `gpu_s` is what the clip cost: seconds of all ranks' devices, of the kind that `device` names
    ("cuda", "cpu"; None where it is not known). `parallel` is None for a clip of one rank.
    `tries` is None unless clips had to be good enough; then the clip may have another seed than
    `request` says, see `seed`. `chunk_starts` are the frames at which chunks of a long clip meet.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    id: str
    clip_id: str
    request: ClipRequest
    model: ModelStamp
    sampler_version: str
    key: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=1)
    frames: int = Field(ge=1)
    duration_s: float = Field(gt=0)
    codec: str
    attempts: int = Field(ge=1)
    timings: Timings
    gpu_s: float = Field(default=0.0, ge=0)
    device: str | None = None
    parallel: Parallel | None = None
    chunks: Chunks | None = None
    node: str
    gang: str | None = None
    versions: dict[str, str]
    created_at: AwareDatetime
    warnings: tuple[str, ...] = ()
    tries: TryHistory | None = None
    chunk_starts: tuple[int, ...] = ()

    @property
    def seed(self) -> int:
        """The seed that these pixels were made with."""
        return self.request.seed if self.tries is None else self.tries.kept.seed

    def outcome(self) -> dict[str, Any]:
        """The ledger's record of this clip: JSON types only, small enough to cross processes."""
        record = {
            "id": self.id,
            "clip_id": self.clip_id,
            "state": "done",
            "key": None if self.key == clip_key(self.id) else self.key,
            "sha256": self.sha256,
            "bytes": self.bytes,
            "duration_s": self.duration_s,
            "codec": self.codec,
            "attempts": self.attempts,
            **self.timings.model_dump(),
            "gpu_s": self.gpu_s,
            "node": self.node,
            "gang": self.gang,
            "created_at": self.created_at.timestamp(),
            "warnings": list(self.warnings),
        }
        if self.parallel is not None:
            record["parallel"] = self.parallel.model_dump()
        if self.chunks is not None:
            record["chunks"] = self.chunks.model_dump()
        return record


@functools.cache
def current_versions() -> dict[str, str]:
    """The versions that decide the pixels, without importing torch."""
    return {"videogen": __version__, "torch": importlib.metadata.version("torch")}


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Provenance:
    """How a clip came to be: what its sidecar states and its file cannot tell."""

    request: ClipRequest
    clip_id: str
    model: ModelStamp
    sampler_version: str
    attempts: int = 1
    timings: Timings = field(default_factory=Timings)
    gpu_s: float = 0.0
    device: str | None = None
    parallel: Parallel | None = None
    chunks: Chunks | None = None
    node: str = field(default_factory=socket.gethostname)
    gang: str | None = None
    versions: Mapping[str, str] = field(default_factory=current_versions)
    warnings: tuple[str, ...] = ()
    tries: TryHistory | None = None
    chunk_starts: tuple[int, ...] = ()

    def container_metadata(self) -> dict[str, str]:
        """What the clip's file itself must carry, so that it can be adopted without its sidecar."""
        return {
            "id": self.request.id,
            "clip_id": self.clip_id,
            "attempts": str(self.attempts),
            "model_digest": self.model.digest,
        }


def read_sidecar(storage: Storage, request_id: str) -> Sidecar:
    """The sidecar of a committed clip.

    Raises:
        MissingKeyError: the clip is not committed.
        DamagedSidecarError: the sidecar is damaged, or of a newer version.
    """
    key = meta_key(request_id)
    try:
        return Sidecar.model_validate_json(storage.read(key))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise DamagedSidecarError(
            f"{storage.uri}/{key}: got {where}: {first['msg']}; expected a sidecar of schema 1. "
            "Fix: use the videogen version that wrote it; if it is damaged, delete it and run "
            "again: its clip is then adopted."
        ) from error


def find_sidecar(storage: Storage, request_id: str) -> Sidecar | None:
    """The sidecar of a request, or None if its clip is not committed.

    Raises:
        StorageError: the sidecar is damaged, or of a newer version.
    """
    try:
        return read_sidecar(storage, request_id)
    except MissingKeyError:
        return None


def find_tries(storage: Storage, request_id: str, sha256: str) -> TryHistory | None:
    """The history of a clip's file that has no sidecar yet; None if it was the only try.

    Raises:
        DamagedSidecarError: the history is damaged.
    """
    key = tries_key(request_id, sha256)
    try:
        return TryHistory.model_validate_json(storage.read(key))
    except MissingKeyError:
        return None
    except ValidationError as error:
        raise DamagedSidecarError(
            f"{storage.uri}/{key}: got {error.errors()[0]['msg']}, expected a history of tries. "
            "Fix: delete it; the clip's sidecar will then not say which seed it was made with."
        ) from error
