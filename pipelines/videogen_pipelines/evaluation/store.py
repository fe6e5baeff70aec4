"""`ScoreStore`: the scores of clips, each stored as it is done, so that a killed run resumes.

    metrics/curves/{fingerprint}/{hh}/{id}={version}.json    1. create-only
    metrics/scores/{fingerprint}/{hh}/{id}={version}.json    2. create-only: the clip is scored

A name holds the digest of the measure and of the content, so what is stored never goes stale:
other metrics, another size or another file have other names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from pydantic import ValidationError

from videogen.errors import StorageError
from videogen.storage import MissingKeyError, Storage
from videogen_pipelines.committed import list_shards
from videogen_pipelines.evaluation.score import ClipScore
from videogen_pipelines.keys import shard_of

METRICS_PREFIX = "metrics/"
_NAME = re.compile(r"[0-9a-f]{2}/([^=/]+)=([0-9a-f]+)\.json")
_READERS = 16
_BATCH = 1000


class ScoreStore:
    """The scores of one measure below one output."""

    def __init__(self, storage: Storage, fingerprint: str) -> None:
        self.storage = storage
        self.fingerprint = fingerprint

    def write(self, score: ClipScore, curves: bytes) -> bool:
        """Store a clip's score, unless it is there; returns whether this call did.

        Raises:
            StorageError: the storage failed.
        """
        self.storage.create(self.curves_key(score.id, score.version), curves)
        return self.storage.create(self.score_key(score.id, score.version), score.to_json())

    def listed(self) -> set[tuple[str, str]]:
        """(id, version) of every score that is stored, by listing alone."""
        prefix = f"{METRICS_PREFIX}scores/{self.fingerprint}/"
        names = (_NAME.fullmatch(k.removeprefix(prefix)) for k in list_shards(self.storage, prefix))
        return {(name[1], name[2]) for name in names if name}

    def read(self, names: Iterable[tuple[str, str]]) -> Iterator[ClipScore | None]:
        """The scores of (id, version) pairs in that order, several read at once; None if absent.

        Raises:
            StorageError: the storage failed, or a score is damaged.
        """
        names = iter(names)
        with ThreadPoolExecutor(_READERS) as readers:
            while batch := list(islice(names, _BATCH)):
                yield from readers.map(lambda name: self.find(*name), batch)

    def find(self, name: str, version: str) -> ClipScore | None:
        """The score of a clip, or None if it has none."""
        key = self.score_key(name, version)
        try:
            return ClipScore.model_validate_json(self.storage.read(key))
        except MissingKeyError:
            return None
        except ValidationError as error:
            raise StorageError(
                f"{self.storage.uri}/{key}: got {error.errors()[0]['msg']}, expected a score of "
                "schema 1. Fix: delete it and run again."
            ) from error

    def score_key(self, name: str, version: str) -> str:
        return self._key("scores", name, version)

    def curves_key(self, name: str, version: str) -> str:
        return self._key("curves", name, version)

    def _key(self, kind: str, name: str, version: str) -> str:
        place = f"{self.fingerprint}/{shard_of(name)}/{name}={version}.json"
        return f"{METRICS_PREFIX}{kind}/{place}"
