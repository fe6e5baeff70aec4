"""How a pack ended, and the list of all that was dropped with its reason."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from videogen.storage import Storage
from videogen_pipelines.data.records import ClipRecord, SourceRecord

DROPPED_KEY = "dropped.jsonl.gz"
SUMMARY_KEY = "summary.json"


@dataclass(frozen=True, slots=True)
class DroppedClip:
    """A video, or a span of it, that is in no shard."""

    source: str
    start: int
    stop: int
    reason: str

    @classmethod
    def of_video(cls, record: SourceRecord) -> DroppedClip:
        return cls(record.key, 0, record.num_frames, record.dropped)

    @classmethod
    def of_clip(cls, record: SourceRecord, clip: ClipRecord, reason: str) -> DroppedClip:
        return cls(record.key, clip.start, clip.stop, reason)

    def to_dict(self) -> dict[str, Any]:
        return {"file": self.source, "start": self.start, "stop": self.stop, "reason": self.reason}


@dataclass(frozen=True)
class PackReport:
    """What `summary.json` says, and what is printed."""

    state: str
    uri: str
    videos: int
    clips: int = 0
    shards: int = 0
    buckets: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    """How many were dropped by the first word of the reason."""
    failures: Mapping[str, str] = field(default_factory=dict)
    unused_rows: int = 0
    """Rows of the index that are of no video."""
    elapsed_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {
            "schema": 1,
            "state": self.state,
            "out": self.uri,
            "videos": self.videos,
            "clips": self.clips,
            "shards": self.shards,
            "buckets": dict(self.buckets),
            "dropped": dict(self.dropped),
            "failures": dict(self.failures),
            "unused_rows": self.unused_rows,
            "elapsed_s": round(self.elapsed_s, 3),
        }


def write_report(
    storage: Storage, report: PackReport, dropped: Iterable[DroppedClip]
) -> PackReport:
    """Write `dropped.jsonl.gz` and `summary.json`; returns the report with what was dropped."""
    counts: Counter[str] = Counter()
    lines = []
    for each in dropped:
        counts[each.reason.partition(":")[0]] += 1
        lines.append(json.dumps(each.to_dict(), ensure_ascii=False))
    text = "".join(f"{line}\n" for line in lines)
    storage.put(DROPPED_KEY, gzip.compress(text.encode(), mtime=0))
    report = replace(report, dropped=dict(sorted(counts.items())))
    storage.put(SUMMARY_KEY, json.dumps(report.to_dict(), indent=2).encode() + b"\n")
    return report
