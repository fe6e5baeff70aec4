"""What a rank does with one video to be packed: decode, cut, measure, keep what is good."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from videogen.errors import ConfigError, MediaError
from videogen.evaluation import ClipMetrics, Evaluator
from videogen.media import VideoInfo, VideoWriter, iter_video, probe
from videogen.media.container import check_seal, quarter_turns
from videogen.models.digests import file_sha256
from videogen.storage import local_copy, open_storage
from videogen.storage.temporary import temporary_folder
from videogen_cluster.workload import Heartbeat, RankContext
from videogen_pipelines.data.captions import Caption, read_sidecar_caption
from videogen_pipelines.data.fingerprint import Fingerprint
from videogen_pipelines.data.records import (
    NO_CAPTION,
    ClipRecord,
    SourceRecord,
    sample_key,
)
from videogen_pipelines.data.scenes import Span, find_cuts, pieces, scenes
from videogen_pipelines.data.settings import PackSettings
from videogen_pipelines.data.store import PackStore
from videogen_pipelines.evaluation.gate import Gate
from videogen_pipelines.keep_alive import keep_alive

CUT_METRIC = "cut.jump"
MAX_CHUNK_FRAMES = 32
CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class PackingTask:
    """What is the same for all videos: where they are, where clips go, and which are wanted."""

    source_uri: str
    out_uri: str
    settings: PackSettings


class PackWorkload:
    """Looks at videos; items hold `key`, `version`, `caption` and `metadata`."""

    def __init__(self, task: PackingTask) -> None:
        self.task = task

    def setup(self, context: RankContext) -> None:
        """Load the metrics and open both storages."""
        import cv2

        cv2.setNumThreads(context.num_threads)
        self._settings = self.task.settings
        self._gate = Gate(self._settings.accept)
        names = tuple(dict.fromkeys([*self._settings.accept, CUT_METRIC]))
        self._evaluator = Evaluator(names, self._settings.size_px)
        self._source = open_storage(self.task.source_uri)
        self._store = PackStore(open_storage(self.task.out_uri))

    def compute(
        self, item: Mapping[str, Any], heartbeat: Heartbeat
    ) -> Callable[[], dict[str, Any]]:
        """Decode and measure a video; the rest stores its clips, then its record.

        A video that cannot be read, or has no caption, gets a record that says so.

        Raises:
            StorageError: it cannot be fetched.
        """
        started = time.perf_counter()
        record = SourceRecord(id=item["id"], key=item["key"], version=item["version"])
        parts: dict[str, Path] = {}
        with ExitStack() as stack:
            try:
                record = self._described(record, item)
                if not record.dropped:
                    with keep_alive(lambda: heartbeat("fetch", 0, 1)):
                        path = stack.enter_context(local_copy(self._source, record.key))
                    folder = stack.enter_context(temporary_folder())
                    record = self._looked_at(path, record, folder, parts, heartbeat)
            except (MediaError, ConfigError) as error:
                record = record.model_copy(update={"dropped": f"unreadable: {error}", "clips": ()})
                parts.clear()
            waiting = stack.pop_all()  # the parts are needed until they are stored
        elapsed_s = round(time.perf_counter() - started, 4)
        record = record.model_copy(update={"elapsed_s": elapsed_s})
        return lambda: self._finish(record, parts, waiting, heartbeat)

    def _described(self, record: SourceRecord, item: Mapping[str, Any]) -> SourceRecord:
        """With its caption."""
        try:
            said = self._said(record, item)
        except ConfigError as error:
            return record.model_copy(update={"dropped": f"{NO_CAPTION}{error}"})
        if said is not None and said.text:
            update = {"caption": said.text, "metadata": dict(said.metadata)}
        elif self._settings.captions == "required":
            where = "none in the index, in a .txt or in a .json beside it"
            update = {"dropped": f"{NO_CAPTION}{where}"}
        else:
            update = {}
        return record.model_copy(update=update)

    def _said(self, record: SourceRecord, item: Mapping[str, Any]) -> Caption | None:
        if item["caption"] is not None:
            return Caption(item["caption"], item["metadata"])
        return read_sidecar_caption(self._source, record.key)

    def _looked_at(
        self,
        path: Path,
        record: SourceRecord,
        folder: Path,
        parts: dict[str, Path],
        heartbeat: Heartbeat,
    ) -> SourceRecord:
        turns = quarter_turns(path)
        info, sha256 = _turned(probe(path), turns), file_sha256(path)
        about = {"sha256": sha256, "fps": info.fps, "height": info.height, "width": info.width}
        record = record.model_copy(update=about)
        if min(info.height, info.width) < self._settings.min_side_px:
            said = f"{info.width}x{info.height} px, expected {self._settings.min_side_px} or more"
            return record.model_copy(update={"dropped": f"size: {said}"})
        metrics, fingerprint, num_frames = self._watched(
            _portions(path, info, turns), info, heartbeat
        )
        spans = self._spans(metrics, num_frames)
        whole = spans == [Span(0, num_frames)] and path.suffix.lower() == ".mp4"
        if whole and not turns:
            clip = self._judged(record, 0, spans[0], metrics, fingerprint)
            kept = {"sha256": sha256, "num_bytes": path.stat().st_size}
            clips = [clip if clip.dropped else clip.model_copy(update=kept)]
        else:
            frames = _Frames(_portions(path, info, turns))
            clips = list(self._cut(frames, info, record, spans, folder, parts, heartbeat))
        return record.model_copy(update={"num_frames": num_frames, "clips": tuple(clips)})

    def _watched(
        self, portions: Iterator[np.ndarray], info: VideoInfo, heartbeat: Heartbeat
    ) -> tuple[ClipMetrics, str, int]:
        """Metrics, hash and length of the whole video."""
        clip, fingerprint = self._evaluator.start(info.fps), Fingerprint(info.num_frames)
        done = 0
        for frames in portions:
            clip.add(frames)
            fingerprint.add(frames)
            done += len(frames)
            heartbeat("measure", done, max(done, info.num_frames))
        return clip.finish(), fingerprint.finish(), done

    def _spans(self, metrics: ClipMetrics, num_frames: int) -> list[Span]:
        found = metrics.results.get(CUT_METRIC)
        cuts: list[int] = []
        if found is not None and found.curve is not None and self._settings.cuts == "split":
            cuts = find_cuts(found.curve)
        longest = self._settings.max_frames
        return [part for scene in scenes(num_frames, cuts) for part in pieces(scene, longest)]

    def _cut(
        self,
        frames: _Frames,
        info: VideoInfo,
        record: SourceRecord,
        spans: list[Span],
        folder: Path,
        parts: dict[str, Path],
        heartbeat: Heartbeat,
    ) -> Iterator[ClipRecord]:
        """Decode again and write a file for every span that is good."""
        for index, span in enumerate(spans):
            key = sample_key(record.id, record.sha256, index)
            target = folder / f"{index}.mp4"
            clip, fingerprint = self._evaluator.start(info.fps), Fingerprint(span.num_frames)
            with VideoWriter(
                target, info.fps, info.height, info.width, crf=self._settings.crf
            ) as w:
                for portion in frames.until(span.stop):
                    w.write(portion)
                    clip.add(portion)
                    fingerprint.add(portion)
                    heartbeat("cut", frames.position, spans[-1].stop)
            judged = self._judged(record, index, span, clip.finish(), fingerprint.finish())
            if judged.dropped:
                target.unlink()
                yield judged
                continue
            parts[key] = target
            kept = {"sha256": file_sha256(target), "num_bytes": target.stat().st_size}
            yield judged.model_copy(update=kept)

    def _judged(
        self, record: SourceRecord, index: int, span: Span, metrics: ClipMetrics, fingerprint: str
    ) -> ClipRecord:
        values = metrics.values()
        reasons = list(self._gate.judge(1, 0, values).complaints)
        if span.num_frames < self._settings.min_frames:
            said = f"length: {span.num_frames} frames, expected {self._settings.min_frames} or more"
            reasons = [said]
        return ClipRecord(
            key=sample_key(record.id, record.sha256, index),
            start=span.start,
            stop=span.stop,
            dropped="; ".join(reasons),
            fingerprint=fingerprint,
            metrics={name: float(f"{value:.6g}") for name, value in values.items()},
        )

    def _finish(
        self,
        record: SourceRecord,
        parts: Mapping[str, Path],
        waiting: ExitStack,
        heartbeat: Heartbeat,
    ) -> dict[str, Any]:
        with waiting, keep_alive(lambda: heartbeat("store", 0, 1)):
            clips = tuple(self._stored(clip, parts.get(clip.key)) for clip in record.clips)
            self._store.commit(record.model_copy(update={"clips": clips}))
        kept = sum(not clip.dropped for clip in record.clips)
        return {"id": record.id, "num_frames": record.num_frames, "clips": kept}

    def _stored(self, clip: ClipRecord, path: Path | None) -> ClipRecord:
        if path is None:
            return clip
        return clip.model_copy(update={"part": self._store.keep_part(clip.key, clip.sha256, path)})


class _Frames:
    """Frames in portions, handed out up to a position at a time."""

    def __init__(self, portions: Iterator[np.ndarray]) -> None:
        self._portions = portions
        self._rest: np.ndarray | None = None
        self.position = 0

    def until(self, stop: int) -> Iterator[np.ndarray]:
        while self.position < stop:
            portion = next(self._portions) if self._rest is None else self._rest
            taken, left = portion[: stop - self.position], portion[stop - self.position :]
            self._rest = left if len(left) else None
            self.position += len(taken)
            yield taken


def _turned(info: VideoInfo, turns: int) -> VideoInfo:
    """What a file is after so many quarter turns."""
    if turns % 2 == 0:
        return info
    return dataclasses.replace(info, height=info.width, width=info.height)


def _portions(path: Path, info: VideoInfo, turns: int) -> Iterator[np.ndarray]:
    """The frames of a file, upright, so few at a time that large ones need no more memory."""
    fitting = CHUNK_BYTES // (3 * info.height * info.width)
    # decord needs a file of others proved whole first, which is to decode it twice, in silence.
    backend = "auto" if check_seal(path) else "pyav"
    portions = iter_video(path, max(1, min(MAX_CHUNK_FRAMES, fitting)), backend)
    for frames in portions:
        yield np.ascontiguousarray(np.rot90(frames, turns, (1, 2))) if turns else frames
