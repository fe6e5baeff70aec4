"""The program `data encode`: a shard of latents and text embeddings for every shard of clips.

It keeps nothing that storage does not have: kill it and the same command continues.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from videogen.errors import ConfigError, StorageError
from videogen.foreign.address import is_foreign
from videogen.storage import Storage, open_storage
from videogen_pipelines.config import GangSection, RunConfig, load_run_config
from videogen_pipelines.data.encode_workload import ClipShape, EncodeWorkload, EncodingTask
from videogen_pipelines.data.engine import Engine, Stage, check_apart, run_stage, work_on_ray
from videogen_pipelines.data.shard_plan import INDEX_PREFIX, SHARDS_PREFIX
from videogen_pipelines.data.shards import ShardRecord
from videogen_pipelines.data.vanished import check_whole, forget_vanished
from videogen_pipelines.job import LoadedModel
from videogen_pipelines.model_cache import local_model

LOCK = ".lock-encode"


@dataclass(frozen=True)
class EncodeReport:
    """How it ended. `skipped` are clips that could not be encoded, `failures` shards."""

    state: str
    uri: str
    shards: int
    clips: int
    skipped: Mapping[str, str]
    failures: Mapping[str, str]
    elapsed_s: float

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {"schema": 1, **asdict(self), "elapsed_s": round(self.elapsed_s, 3)}


@dataclass(frozen=True)
class EncodeJob:
    """One `data encode`, checked before any work."""

    config: RunConfig
    source: Storage
    out: Storage
    shape: ClipShape
    model: LoadedModel
    keys: tuple[str, ...]

    @classmethod
    def check(
        cls,
        address: str,
        out: str,
        shape: ClipShape | None = None,
        overrides: Iterable[str] = (),
    ) -> EncodeJob:
        """Find the shards and read the model's description; nothing is written.

        Raises:
            ConfigError: the configuration is wrong, or `out` lies among the shards.
            WeightsError: there is no such model.
            StorageError: there is no shard, one is recorded and gone, or a storage cannot be read.
        """
        config = load_run_config(None, list(overrides))
        # One rank holds a whole VAE and text encoder; gangs are for clips too large for that.
        cluster = config.cluster.model_copy(update={"gang": GangSection()})
        config = config.model_copy(update={"cluster": cluster})
        model = LoadedModel.read(config.model.name)
        if is_foreign(config.model.name):
            raise ConfigError(
                f"--model: got {config.model.name}, which makes whole clips and shows no VAE; "
                "expected a model of this project or a published one that it loads."
            )
        source, target = open_storage(address), open_storage(out)
        check_apart(source, target)
        keys = tuple(sorted(key for key in source.list() if key.endswith(".tar")))
        if not keys:
            raise StorageError(
                f"{source.uri}: got no .tar file, expected shards of clips. Fix: give the output "
                "of 'videogen data pack', or of 'videogen generate --format webdataset'."
            )
        check_whole(source)
        _check_names(keys)
        return cls(config, source, target, shape or ClipShape(), model, keys)

    def record(self) -> None:
        """Fix the model and the shape of clips, once for an output.

        Training compares the digest of the VAE with that of the model it trains.

        Raises:
            ConfigError: they were others before.
        """
        from videogen.models.latents_digest import latents_digest, text_digest  # needs torch
        from videogen.training.encoded_clips import ENCODE_FILE

        here = local_model(self.model.name)
        said = {
            "schema": 1,
            "model": self.model.stamp.name,
            "model_digest": self.model.stamp.digest,
            "vae_digest": latents_digest(here),
            "text_digest": text_digest(here),
            "shape": asdict(self.shape),
        }
        if self.out.create(ENCODE_FILE, json.dumps(said, indent=2).encode() + b"\n"):
            return
        before = json.loads(self.out.read(ENCODE_FILE))
        # What was begun before a field was recorded goes on as it was.
        shape = asdict(ClipShape()) | before["shape"]
        if said | before | {"shape": shape} != said:
            raise ConfigError(
                f"{self.out.uri}: got {said['model']} and {said['shape']}, expected "
                f"{before['model']} (digest {before['model_digest'][:12]}) and {before['shape']} "
                "as before. Fix: give the same options, or another --out."
            )

    def task(self) -> EncodingTask:
        """What every rank needs to know."""
        section = self.config.model
        where = self.source.uri, self.out.uri
        name, digest = self.model.name, self.model.stamp.digest
        return EncodingTask(*where, name, digest, section.device, section.dtype, self.shape)


def encode(
    job: EncodeJob, console: Console, log_interval_s: float = 10.0, engine: Engine = work_on_ray
) -> EncodeReport:
    """Encode all shards of a job to the end, or until it is interrupted.

    Raises:
        StorageError: a storage fails, or another process encodes there.
        ConfigError: it was begun with another model, or the cluster is too small.
        ClusterError: Ray cannot be started or joined, or gangs keep failing.
    """
    started = time.monotonic()
    with job.out.lock(LOCK):
        job.record()
        forget_vanished(job.out)
        stored = set(job.out.list(INDEX_PREFIX))
        items = [each for each in _items(job.keys) if each[1]["index_key"] not in stored]
        heard = run_stage(
            Stage(job.config, console, log_interval_s, engine),
            EncodeWorkload(job.task()),
            items,
            len(items),
            len(job.keys) - len(items),
            "shards",
        )
        records = list(_records(job.out))
    skipped = {key: why for record in records for key, why in record.skipped.items()}
    failed = bool(heard.failures or skipped)
    return EncodeReport(
        state="interrupted" if heard.interrupted else "some_failed" if failed else "complete",
        uri=job.out.uri,
        shards=len(records),
        clips=sum(len(record.clips) for record in records),
        skipped=skipped,
        failures=heard.failures,
        elapsed_s=time.monotonic() - started,
    )


def _name(key: str) -> str:
    return str(PurePosixPath(key.removeprefix(SHARDS_PREFIX)).with_suffix(""))


def _check_names(keys: Iterable[str]) -> None:
    """Raise `ConfigError` where two shards would become one."""
    known: dict[str, str] = {}
    for key in keys:
        other = known.setdefault(_name(key), key)
        if other != key:
            raise ConfigError(
                f"SHARDS: got {other} and {key}, expected shards of different names. "
                "Fix: rename one of them."
            )


def _items(keys: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key in keys:
        name = _name(key)
        places = {
            "tar_key": f"{SHARDS_PREFIX}{name}.tar",
            "index_key": f"{INDEX_PREFIX}{name}.json",
        }
        yield name, {"key": key, **places}


def _records(storage: Storage) -> Iterator[ShardRecord]:
    for key in sorted(storage.list(INDEX_PREFIX)):
        try:
            yield ShardRecord.model_validate_json(storage.read(key))
        except ValidationError as error:
            raise StorageError(
                f"{storage.uri}/{key}: got {error.errors()[0]['msg']}, expected a record of "
                "schema 1. Fix: delete it and run again."
            ) from error
