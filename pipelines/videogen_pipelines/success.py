"""`_SUCCESS`, which says that every row of the manifest is a clip or a named failure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import AwareDatetime, Field, ValidationError

from videogen.errors import OutputConflictError, StorageError
from videogen.storage import MissingKeyError, Storage
from videogen_pipelines.results import RunCounts
from videogen_pipelines.run_record import RunRecord
from videogen_pipelines.sidecar import Record, now

SUCCESS_KEY = "_SUCCESS"


class Success(Record):
    """The end of a run; `files` are the SHA-256 of the results that it vouches for."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    rows: int = Field(ge=0)
    done: int = Field(ge=0)
    failed: int = Field(ge=0)
    pending: Literal[0] = 0
    manifest_digest: str
    model_digest: str
    invocation: int = Field(ge=1)
    created_at: AwareDatetime
    files: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def of(cls, record: RunRecord, counts: RunCounts, files: Mapping[str, str]) -> Success:
        """The end of the invocation that `record` describes, now."""
        return cls(
            rows=counts.rows,
            done=counts.done,
            failed=counts.failed,
            manifest_digest=record.manifest_digest,
            model_digest=record.model.digest,
            invocation=record.invocation,
            created_at=now(),
            files=dict(files),
        )

    @property
    def counts(self) -> RunCounts:
        return RunCounts(self.rows, self.done, self.failed)

    def says_the_same(self, other: Success) -> bool:
        """Whether both declare the same rows done and failed, whoever wrote them."""
        names = ("rows", "done", "failed", "manifest_digest", "model_digest")
        return all(getattr(self, name) == getattr(other, name) for name in names)


def write_success(storage: Storage, success: Success) -> None:
    """Declare the run complete, once; declaring the same again changes nothing.

    Raises:
        OutputConflictError: somebody declared something else meanwhile.
        StorageError: the storage failed.
    """
    if storage.create(SUCCESS_KEY, success.to_json()):
        return
    found = read_success(storage)
    if found is None or not found.says_the_same(success):
        theirs = f"{found.done} done and {found.failed} failed" if found else "nothing any more"
        raise OutputConflictError(
            f"{storage.uri}/{SUCCESS_KEY}: got another one that somebody wrote meanwhile "
            f"({theirs}), expected {success.done} done and {success.failed} failed. "
            "Fix: run the same command again; it takes stock anew."
        )


def read_success(storage: Storage) -> Success | None:
    """What `_SUCCESS` says, or None if the run is not complete.

    Raises:
        StorageError: it is damaged.
    """
    try:
        return Success.model_validate_json(storage.read(SUCCESS_KEY))
    except MissingKeyError:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        raise StorageError(
            f"{storage.uri}/{SUCCESS_KEY}: got {'.'.join(map(str, first['loc']))}: {first['msg']}, "
            "expected schema 1. Fix: delete it and run the same command again."
        ) from error
