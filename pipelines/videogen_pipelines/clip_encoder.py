"""Encodes a clip in a thread of its own, while the device makes the next frames."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from videogen.media import VideoWriter
from videogen.requests import ClipRequest

MAX_WAITING_CHUNKS = 4  # bounds the memory between VAE and encoder


class _AbortedError(Exception):
    """Makes the writer drop its file."""


class ClipEncoder:
    """One clip on its way into a file; `put` frames, then `close` or `abort`.

    Args:
        path: the file, written by the thread that this starts.
        on_frames: told how many frames are written so far.
    """

    def __init__(
        self,
        path: Path,
        request: ClipRequest,
        codec: str,
        crf: int | None,
        metadata: Mapping[str, str],
        on_frames: Callable[[int], None],
    ) -> None:
        self._open = lambda: VideoWriter(
            path, request.fps, request.height, request.width, codec, crf, metadata
        )
        self._on_frames = on_frames
        self._chunks: queue.Queue[np.ndarray | None] = queue.Queue(MAX_WAITING_CHUNKS)
        self._aborting = False
        self._error: BaseException | None = None
        self._busy_s = 0.0
        self._thread = threading.Thread(target=self._run, name="encode", daemon=True)
        self._thread.start()

    def put(self, frames: np.ndarray) -> None:
        """Hand over frames, uint8 `t h w c`; waits while too many are waiting.

        Raises:
            EncodeError: the encoder has failed.
        """
        self._raise_if_failed()
        self._chunks.put(frames)

    def close(self) -> float:
        """Wait until the file is complete.

        Returns:
            Seconds the encoder was at work.

        Raises:
            EncodeError: it failed; there is no file then.
        """
        self._end()
        self._raise_if_failed()
        return self._busy_s

    def abort(self) -> None:
        """Stop and leave no file."""
        self._aborting = True
        self._end()

    def _end(self) -> None:
        self._chunks.put(None)
        self._thread.join()

    def _raise_if_failed(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        incoming = self._incoming()
        try:
            self._encode(incoming)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self._error = error
        for _ in incoming:
            pass  # whoever puts must never wait for an encoder that has failed

    def _incoming(self) -> Iterator[np.ndarray]:
        while (frames := self._chunks.get()) is not None:
            yield frames

    def _encode(self, incoming: Iterator[np.ndarray]) -> None:
        num_frames = 0
        with self._open() as writer:
            for frames in incoming:
                started = time.perf_counter()
                writer.write(frames)
                num_frames += len(frames)
                self._busy_s += time.perf_counter() - started
                self._on_frames(num_frames)
            if self._aborting:
                raise _AbortedError
            started = time.perf_counter()
            writer.close()
            self._busy_s += time.perf_counter() - started
