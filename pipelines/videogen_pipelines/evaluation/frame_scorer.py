"""Scores a clip in a thread of its own, from its frames, while the device makes the next ones."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from videogen.media import iter_video

if TYPE_CHECKING:
    from videogen.evaluation import ClipMetrics, Evaluator

MAX_WAITING_CHUNKS = 4  # bounds the memory between VAE and metrics
FILE_CHUNK = 8


class FrameScorer:
    """One clip under way: `put` frames, then `finish` or `abort`."""

    def __init__(
        self, evaluator: Evaluator, fps: float, prompt: str | None, boundaries: Sequence[int] = ()
    ) -> None:
        self._start = lambda: evaluator.start(fps, prompt, boundaries)
        self._clip = self._start()
        self._chunks: queue.Queue[np.ndarray | None] = queue.Queue(MAX_WAITING_CHUNKS)
        self._aborting = False
        self._error: BaseException | None = None
        self._metrics: ClipMetrics | None = None
        self.busy_s = 0.0
        self.num_frames = 0
        self._thread = threading.Thread(target=self._run, name="score", daemon=True)
        self._thread.start()

    def put(self, frames: np.ndarray) -> None:
        """Hand over frames, uint8 `t h w c`; waits while too many are waiting."""
        self.num_frames += len(frames)
        self._chunks.put(frames)

    def finish(self) -> ClipMetrics:
        """Wait for the metrics of all frames; asked again, it says the same.

        Raises:
            MediaError: there were no frames.
        """
        self._end()
        if self._metrics is None:
            self._metrics = self._clip.finish()
        return self._metrics

    def measure(self, path: Path) -> ClipMetrics:
        """Score a file instead, for a clip of which not all frames came by here.

        Raises:
            MediaError: it cannot be read.
        """
        self._end()
        clip = self._start()
        for frames in iter_video(path, FILE_CHUNK):
            clip.add(frames)
        self._metrics = clip.finish()
        return self._metrics

    def abort(self) -> None:
        """Stop; nobody wants to know any more."""
        self._aborting = True
        self._end()

    def _end(self) -> None:
        if self._thread.is_alive():
            self._chunks.put(None)
            self._thread.join()
        if self._error is not None and not self._aborting:
            raise self._error

    def _run(self) -> None:
        while (frames := self._chunks.get()) is not None:
            if self._aborting or self._error is not None:
                continue  # whoever puts must never wait
            started = time.perf_counter()
            try:
                self._clip.add(frames)
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                self._error = error
            self.busy_s += time.perf_counter() - started
