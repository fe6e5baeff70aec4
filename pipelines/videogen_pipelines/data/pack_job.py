"""`PackJob`: which videos are packed, how, and where shards go; checked before any work."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from videogen.errors import ConfigError
from videogen.storage import Storage, open_storage
from videogen_pipelines.config import GangSection, RunConfig, load_run_config
from videogen_pipelines.data.captions import Caption, CaptionIndex, read_sidecar_caption
from videogen_pipelines.data.engine import check_apart
from videogen_pipelines.data.records import SourceRecord
from videogen_pipelines.data.settings import PackSettings
from videogen_pipelines.data.store import PackStore
from videogen_pipelines.evaluation.sources import Source, open_source

PACK_KEY = "pack.json"


@dataclass(frozen=True)
class PackJob:
    """One `data pack`, checked before any work.

    Attributes:
        captions: those of the index, by the key of their video.
        unused_rows: how many rows of the index are no video's.
    """

    config: RunConfig
    source: Source
    out: Storage
    settings: PackSettings
    captions: Mapping[str, Caption] = field(default_factory=dict)
    unused_rows: int = 0

    @classmethod
    def check(
        cls,
        address: str,
        out: str,
        settings: PackSettings | None = None,
        index: str | None = None,
        overrides: Iterable[str] = (),
    ) -> PackJob:
        """Find the videos; nothing is written.

        Args:
            address: a folder of videos, or the output of a run.
            index: a CSV, JSONL or Parquet file of captions; None is a file beside each video.

        Raises:
            ConfigError: the configuration or the index is wrong, or `out` lies among the videos.
            StorageError: there is no video, or a storage cannot be read.
        """
        config = load_run_config(None, list(overrides))
        rows = CaptionIndex([], "") if index is None else CaptionIndex.read(index)
        videos, target = open_storage(address), open_storage(out)
        check_apart(videos, target)
        chosen = settings or PackSettings()
        source = open_source(videos)
        captions = rows.match(clip.key for clip in source.clips()) if len(rows) else {}
        unused = len(rows) - len(captions)
        return cls(_on_cpu(config), source, target, chosen, captions, unused)

    @cached_property
    def store(self) -> PackStore:
        return PackStore(self.out)

    def record(self) -> None:
        """Fix how videos are looked at, once for an output.

        Raises:
            ConfigError: it was another way before.
        """
        chosen = self.settings.to_dict()
        said = {"schema": 1, "digest": self.settings.digest, "settings": chosen}
        data = json.dumps(said, indent=2).encode() + b"\n"
        if self.out.create(PACK_KEY, data):
            return
        before = json.loads(self.out.read(PACK_KEY))
        if before["digest"] != self.settings.digest:
            raise ConfigError(
                f"{self.out.uri}: got {_difference(chosen, before['settings'])}. Fix: "
                "give the same options as before, or another --out."
            )

    def has_caption(self, key: str) -> bool:
        """Whether the index, or a file beside it, says what the video at `key` shows."""
        said = self.captions.get(key)
        with suppress(ConfigError):
            said = said or read_sidecar_caption(self.source.storage, key)
        return said is not None and bool(said.text)

    def items(self, names: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """What ranks get for these videos."""
        versions = dict(names)
        for clip in self.source.clips(versions):
            said = self.captions.get(clip.key)
            caption = clip.prompt if said is None else said.text
            yield (
                clip.id,
                {
                    "key": clip.key,
                    "version": versions[clip.id],
                    "caption": caption,
                    "metadata": {} if said is None else dict(said.metadata),
                },
            )

    def items_again(
        self, records: Iterable[SourceRecord]
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """What ranks get for videos that they looked at before, with the captions of then."""
        for record in records:
            yield record.id, record.model_dump(include={"key", "version", "caption", "metadata"})


def _difference(now: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    said = [
        f"{name} {now.get(name)!r}, expected {before.get(name)!r} as before"
        for name in now
        if now.get(name) != before.get(name)
    ]
    return "; ".join(said)


def _on_cpu(config: RunConfig) -> RunConfig:
    """Looking at videos needs single ranks and no GPU."""
    model = config.model.model_copy(update={"device": "cpu"})
    cluster = config.cluster.model_copy(update={"gang": GangSection()})
    return config.model_copy(update={"model": model, "cluster": cluster})
