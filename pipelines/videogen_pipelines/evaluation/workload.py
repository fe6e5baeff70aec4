"""What a rank does with one clip to be scored: decode, measure, store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from videogen.media import VideoInfo, iter_video, probe
from videogen.media.container import check_seal
from videogen.storage import local_copy, open_storage
from videogen_cluster.workload import Heartbeat, RankContext
from videogen_pipelines.evaluation.score import ClipScore, curves_json
from videogen_pipelines.evaluation.settings import EvaluateSettings, fingerprint
from videogen_pipelines.evaluation.store import ScoreStore
from videogen_pipelines.keep_alive import keep_alive

MAX_CHUNK_FRAMES = 32
CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class ScoringTask:
    """What is the same for all clips of an evaluation: where they are, and where scores go."""

    source_uri: str
    out_uri: str
    settings: EvaluateSettings


class EvaluateWorkload:
    """Scores clips; items hold `key`, `version`, `prompt` and `boundaries`."""

    def __init__(self, task: ScoringTask) -> None:
        self.task = task

    def setup(self, context: RankContext) -> None:
        """Load what the metrics need and open both storages."""
        import cv2

        cv2.setNumThreads(context.num_threads)
        self._evaluator = self.task.settings.evaluator()
        self._source = open_storage(self.task.source_uri)
        self._store = ScoreStore(open_storage(self.task.out_uri), fingerprint(self._evaluator))

    def compute(
        self, item: Mapping[str, Any], heartbeat: Heartbeat
    ) -> Callable[[], dict[str, Any]]:
        """Decode and measure a clip; the rest stores its score.

        Raises:
            MediaError: the file is missing, damaged or no video.
            StorageError: it cannot be fetched.
        """
        started = time.perf_counter()
        with ExitStack() as stack:
            with keep_alive(lambda: heartbeat("fetch", 0, 1)):
                path = stack.enter_context(local_copy(self._source, item["key"]))
            score, curves = self._measure(path, item, heartbeat)
        score = score.model_copy(update={"elapsed_s": round(time.perf_counter() - started, 4)})
        return lambda: self._finish(score, curves, heartbeat)

    def _measure(
        self, path: Path, item: Mapping[str, Any], heartbeat: Heartbeat
    ) -> tuple[ClipScore, bytes]:
        info = probe(path)
        prompt = item["prompt"] or info.metadata.get("prompt")
        clip = self._evaluator.start(info.fps, prompt, item["boundaries"])
        done = 0
        for frames in _chunks(path, info):
            clip.add(frames)
            done += len(frames)
            heartbeat("score", done, max(done, info.num_frames))
        metrics = clip.finish()
        score = ClipScore.of(
            metrics,
            id=item["id"],
            key=item["key"],
            version=item["version"],
            fingerprint=self._store.fingerprint,
            measured_on="file",
            prompt=prompt,
            boundaries=tuple(item["boundaries"]),
        )
        return score, curves_json(score.id, score.fps, metrics.curves())

    def _finish(self, score: ClipScore, curves: bytes, heartbeat: Heartbeat) -> dict[str, Any]:
        with keep_alive(lambda: heartbeat("store", 0, 1)):
            self._store.write(score, curves)
        return {"id": score.id, "num_frames": score.num_frames, "elapsed_s": score.elapsed_s}


def _chunks(path: Path, info: VideoInfo) -> Iterator[np.ndarray]:
    """The frames of a file, so few at a time that large ones need no more memory."""
    fitting = CHUNK_BYTES // (3 * info.height * info.width)
    # decord needs a file of others proved whole first, which is to decode it twice, in silence.
    backend = "auto" if check_seal(path) else "pyav"
    return iter_video(path, max(1, min(MAX_CHUNK_FRAMES, fitting)), backend)
