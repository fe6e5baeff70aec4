"""WebDataset shards: tar files whose members of one name, up to the first dot, are one sample."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from videogen.errors import MediaError, MissingDependencyError
from videogen.models.digests import file_sha256
from videogen.storage import Storage
from videogen_pipelines.sidecar import Record

Sample = Mapping[str, bytes]
"""Extension -> content, such as {"mp4": …, "txt": …, "json": …}."""


class ShardRecord(Record):
    """What a shard holds; storing it is the commit of the shard."""

    schema_version: int = Field(default=1, alias="schema")
    key: str
    clips: tuple[str, ...]
    num_bytes: int
    sha256: str
    skipped: dict[str, str] = Field(default_factory=dict)
    """Why samples that should be in it are not."""


def write_shard(path: Path, samples: Iterable[tuple[str, Sample]]) -> list[str]:
    """Write samples to a tar file, one in memory at a time; returns their keys.

    Equal samples make equal bytes: members carry no time and no owner.

    Raises:
        MissingDependencyError: webdataset is not installed.
    """
    keys = []
    with (
        path.open("wb") as file,
        _webdataset().TarWriter(
            file, user="", group="", mtime=0, encoder=False, compress=False
        ) as tar,
    ):
        for key, sample in samples:
            tar.write({"__key__": key, **sample})
            keys.append(key)
    return keys


def read_shard(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The samples of a tar file, one in memory at a time, as bytes that nothing has decoded.

    Raises:
        MediaError: the file is no tar file, or cut short.
        MissingDependencyError: webdataset is not installed.
    """
    tariterators = _webdataset().tariterators

    def raise_it(error: Exception) -> bool:
        raise error

    with path.open("rb") as file:
        try:
            files = tariterators.tar_file_expander(
                [{"url": path.name, "stream": file}], handler=raise_it
            )
            for sample in tariterators.group_by_keys(files, handler=raise_it):
                fields = {k: v for k, v in sample.items() if not k.startswith("__")}
                yield sample["__key__"], fields
        except MediaError:
            raise
        except Exception as error:  # whatever tarfile and webdataset say of a damaged file
            raise MediaError(
                f"shard: got {path.name}, which cannot be read ({error}), expected a whole tar "
                "file. Fix: make or copy it again."
            ) from error


def commit_shard(
    storage: Storage,
    tar_key: str,
    index_key: str,
    path: Path,
    keys: Sequence[str],
    skipped: Mapping[str, str] | None = None,
) -> ShardRecord:
    """Store a shard, then its record, whose existence is the commit.

    A tar that is there without a record was left by a process that died, and is replaced.
    """
    record = ShardRecord(
        key=tar_key,
        clips=tuple(keys),
        num_bytes=path.stat().st_size,
        sha256=file_sha256(path),
        skipped=dict(skipped or {}),
    )
    if not storage.exists(index_key):
        storage.put(tar_key, path)
        storage.create(index_key, record.to_json())
    return record


def to_json(value: Any) -> bytes:
    """A member of a sample."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode() + b"\n"


def _webdataset() -> Any:
    try:
        import webdataset
    except ImportError as error:
        raise MissingDependencyError(
            "shards: got no webdataset package, expected webdataset >= 1.0. "
            "Fix: pip install webdataset."
        ) from error
    return webdataset
