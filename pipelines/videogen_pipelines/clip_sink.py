"""Where the frames of a clip go: into one file, or chunk by chunk into what another rank can use.

Both end in one file at `path`. A clip of one chunk is encoded in one go; one of several is encoded
in closed segments, each stored with its state before the next is begun, and joined at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from videogen.errors import EncodeError, MediaError
from videogen.media import join_videos
from videogen.storage import MissingKeyError
from videogen_pipelines.clip_encoder import ClipEncoder
from videogen_pipelines.keep_alive import keep_alive
from videogen_pipelines.partials import PartialClip, remove_partials

if TYPE_CHECKING:
    from videogen.extension.state import Chunk

OpenEncoder = Callable[[Path, dict[str, str]], ClipEncoder]
"""Starts to encode into a file that carries some metadata."""


class ClipSink(Protocol):
    """Takes the chunks of one clip: `begin`, `put` frames, `end`; then `close`."""

    path: Path
    num_chunks: int

    def begin(self) -> None:
        """A chunk follows."""
        ...

    def put(self, frames: np.ndarray) -> None:
        """Take frames, uint8 `t h w c`.

        Raises:
            EncodeError: the encoder has failed.
        """
        ...

    def end(self, chunk: Chunk) -> None:
        """All frames of this chunk were put.

        Raises:
            EncodeError: the encoder has failed.
            StorageError: the chunk cannot be stored.
        """
        ...

    def abort(self) -> None:
        """Drop the chunk that was begun; those before it stay where they are."""
        ...

    def close(self) -> float:
        """Complete the file at `path`; returns the seconds that encoding took. Once is enough.

        Raises:
            EncodeError: it cannot be completed.
            MediaError, StorageError: chunks that were stored are damaged or gone.
        """
        ...


class WholeClip:
    """A clip of one chunk."""

    def __init__(self, path: Path, open_encoder: OpenEncoder, metadata: dict[str, str]) -> None:
        self.path = path
        self.num_chunks = 1
        self._open = lambda: open_encoder(path, metadata)
        self._encoder: ClipEncoder | None = None

    def begin(self) -> None:
        self._encoder = self._open()

    def put(self, frames: np.ndarray) -> None:
        assert self._encoder is not None
        self._encoder.put(frames)

    def end(self, chunk: Chunk) -> None:
        pass  # the end is encoded while the next clip is made

    def abort(self) -> None:
        if self._encoder is not None:
            self._encoder.abort()

    def close(self) -> float:
        assert self._encoder is not None
        return self._encoder.close()


class ChunkedClip:
    """A clip of several chunks, of which some may be stored already.

    Args:
        path: of the whole clip; segments are made beside it.
        partial: where finished chunks are stored.
        num_chunks: those that are stored.
        on_storing: told every now and then while a chunk is stored.
    """

    def __init__(
        self,
        path: Path,
        open_encoder: OpenEncoder,
        metadata: dict[str, str],
        fps: float,
        partial: PartialClip,
        num_chunks: int,
        on_storing: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self.num_chunks = num_chunks
        self._metadata, self._fps = metadata, fps
        self._segment = path.with_name(f"{path.stem}.chunk{path.suffix}")
        self._open = lambda: open_encoder(self._segment, {"clip_id": partial.clip_id})
        self._partial = partial
        self._on_storing = on_storing
        self._encoder: ClipEncoder | None = None
        self._encode_s = 0.0
        self._is_whole = False

    def begin(self) -> None:
        self._encoder = self._open()

    def put(self, frames: np.ndarray) -> None:
        assert self._encoder is not None
        self._encoder.put(frames)

    def end(self, chunk: Chunk) -> None:
        assert self._encoder is not None
        self._encode_s += self._encoder.close()
        self._encoder = None
        try:
            with keep_alive(self._on_storing):
                self._partial.add(chunk.index, self._segment, chunk.state.to_bytes())
        finally:
            self._segment.unlink(missing_ok=True)
        self.num_chunks = chunk.index + 1

    def abort(self) -> None:
        if self._encoder is not None:
            self._encoder.abort()
            self._encoder = None

    def close(self) -> float:
        if not self._is_whole:
            segments = self._partial.segments(self.num_chunks)
            try:
                join_videos(self.path, segments, self._fps, self._metadata)
            except EncodeError:
                raise
            except (MediaError, MissingKeyError):
                remove_partials(
                    self._partial.storage, self._partial.id
                )  # so that the next attempt makes the clip anew
                raise
            self._is_whole = True
        return self._encode_s
