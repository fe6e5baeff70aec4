"""`RunRecord`, what `run.json` says about an invocation: its configuration, manifest and model."""

from __future__ import annotations

import hashlib
import json
import re
import socket
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import AwareDatetime, Field, ValidationError

from videogen.errors import StorageError
from videogen.storage import Storage
from videogen_pipelines.sidecar import ModelStamp, Record, current_versions, now

FIRST_KEY = "run.json"
LATER_PREFIX = "runs/"
_LATER = re.compile(r"runs/(\d{4,})\.json")


class RunRecord(Record):
    """One invocation on a run directory; the first is `run.json`, later ones `runs/0002.json` …

    Later invocations may bring another configuration, model or a longer manifest: what one output
    may not hold is two clips of one id, and that is checked clip by clip.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    invocation: int = Field(default=1, ge=1)
    config: dict[str, Any]
    config_sha256: str
    manifest_uri: str
    manifest_digest: str
    num_rows: int | None = None
    model: ModelStamp
    inputs: dict[str, Any] | None = None
    """How the rows were read, for `recorded.recorded_inputs`; None in records before it."""
    sampler_version: str | None = None
    commit: Literal["create_only", "single_committer"] = "create_only"
    versions: dict[str, str]
    node: str
    created_at: AwareDatetime

    @classmethod
    def of(
        cls,
        config: Mapping[str, Any],
        manifest_uri: str,
        manifest_digest: str,
        model_name: str,
        model_digest: str,
        num_rows: int | None = None,
        inputs: Mapping[str, Any] | None = None,
        sampler_version: str | None = None,
    ) -> RunRecord:
        """The record of an invocation that starts now, here.

        Args:
            config: the fully resolved configuration, JSON types only.
            inputs: what `Inputs.recipe()` returned, JSON types only.
        """
        return cls(
            config=dict(config),
            config_sha256=config_sha256(config),
            manifest_uri=manifest_uri,
            manifest_digest=manifest_digest,
            num_rows=num_rows,
            model=ModelStamp(name=model_name, digest=model_digest),
            inputs=None if inputs is None else dict(inputs),
            sampler_version=sampler_version,
            versions=current_versions(),
            node=socket.gethostname(),
            created_at=now(),
        )


def config_sha256(config: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON of a resolved configuration."""
    text = json.dumps(config, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_run_record(storage: Storage, record: RunRecord) -> RunRecord:
    """Store `record` under the next free number; returns it with that number.

    Raises:
        StorageError: the storage failed.
    """
    number = next_invocation(storage)
    while True:
        numbered = record.model_copy(update={"invocation": number})
        if storage.create(_key(number), numbered.to_json()):
            return numbered
        number += 1


def read_run_record(storage: Storage) -> RunRecord:
    """The record of the latest invocation.

    Raises:
        StorageError: there is none, so this is no run directory, or it is damaged.
    """
    number = next_invocation(storage) - 1
    if number < 1:
        raise StorageError(
            f"{storage.uri}: got no run.json, expected a run directory. Fix: name the output "
            "of 'videogen generate'."
        )
    return _read(storage, number)


def is_continued(storage: Storage, record: RunRecord, invocation: int) -> bool:
    """Whether `record` asks for what an earlier invocation asked for: the same rows and model."""
    names = ("manifest_digest", "inputs", "model", "sampler_version")
    try:
        earlier = _read(storage, invocation)
    except StorageError:  # lost or damaged: then it does not count
        return False
    return all(getattr(earlier, name) == getattr(record, name) for name in names)


def _read(storage: Storage, number: int) -> RunRecord:
    key = _key(number)
    try:
        return RunRecord.model_validate_json(storage.read(key))
    except ValidationError as error:
        raise StorageError(
            f"{storage.uri}/{key}: got {error.errors()[0]['msg']}, expected a record of schema 1. "
            "Fix: use the videogen version that wrote it."
        ) from error


def next_invocation(storage: Storage) -> int:
    """The number that an invocation gets which begins now.

    Raises:
        StorageError: the storage failed.
    """
    later = (_LATER.fullmatch(key) for key in storage.list(LATER_PREFIX))
    highest = max((int(match[1]) for match in later if match), default=1)
    return highest + 1 if storage.exists(FIRST_KEY) else 1


def _key(number: int) -> str:
    return FIRST_KEY if number <= 1 else f"{LATER_PREFIX}{number:04d}.json"
