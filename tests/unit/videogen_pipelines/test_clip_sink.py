"""Frames of chunks end in one file, whoever encoded which chunk; aborted ones leave no trace."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from videogen.errors import MediaError
from videogen.media import probe, read_video
from videogen.media.boxes import top_level_boxes
from videogen.requests import ClipRequest
from videogen.storage import LocalStorage
from videogen_pipelines.clip_encoder import ClipEncoder
from videogen_pipelines.clip_sink import ChunkedClip, WholeClip
from videogen_pipelines.partials import PartialClip, remove_partials

HEIGHT, WIDTH = 32, 48
CHUNKS = (9, 4, 2)


def request() -> ClipRequest:
    size: dict[str, Any] = {"num_frames": sum(CHUNKS), "height": HEIGHT, "width": WIDTH, "fps": 8.0}
    steps: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 1.0, "sampler": "euler"}
    return ClipRequest(id="a", prompt="p", seed=1, **size, **steps)


def open_encoder(path: Path, metadata: dict[str, str]) -> ClipEncoder:
    return ClipEncoder(path, request(), "h264", None, metadata, lambda _: None)


def frames_of(chunk: int) -> np.ndarray:
    return np.full((CHUNKS[chunk], HEIGHT, WIDTH, 3), 60 + 50 * chunk, np.uint8)


def chunk_of(index: int) -> Any:
    return SimpleNamespace(index=index, state=SimpleNamespace(to_bytes=f"after {index}".encode))


@pytest.fixture
def partial(storage: LocalStorage) -> PartialClip:
    return PartialClip(storage, "a", "ab" * 16, "h264-auto")


def chunked(folder: Path, partial: PartialClip) -> ChunkedClip:
    folder.mkdir(exist_ok=True)
    metadata = {"clip_id": "ab" * 16, "attempts": "1"}
    done = partial.num_chunks()
    return ChunkedClip(folder / "a.mp4", open_encoder, metadata, 8.0, partial, done)


def make(sink: Any, *chunks: int) -> None:
    for index in chunks:
        sink.begin()
        for frame in frames_of(index):
            sink.put(frame[None])
        sink.end(chunk_of(index))


def test_a_clip_of_one_chunk_is_encoded_in_one_go(tmp_path: Path):
    sink = WholeClip(tmp_path / "a.mp4", open_encoder, {"clip_id": "x"})
    make(sink, 0)
    assert sink.close() > 0
    assert probe(sink.path).num_frames == CHUNKS[0]
    assert sink.close() > 0


def test_who_makes_which_chunk_changes_no_byte(tmp_path: Path, partial: PartialClip):
    alone = chunked(tmp_path / "alone", partial)
    make(alone, 0, 1, 2)
    assert alone.close() == alone.close() > 0
    frames, fps = read_video(alone.path)
    assert (len(frames), fps) == (sum(CHUNKS), 8.0)
    levels = [round(float(frame.mean()), -1) for frame in frames]
    assert levels == [60] * 9 + [110] * 4 + [160] * 2
    assert probe(alone.path).metadata["attempts"] == "1"
    expected = alone.path.read_bytes()
    remove_partials(partial.storage, "a")
    assert partial.num_chunks() == 0

    first = chunked(tmp_path / "first", partial)
    make(first, 0, 1)
    first.begin()
    first.put(frames_of(2))
    first.abort()
    assert list((tmp_path / "first").iterdir()) == []
    second = chunked(tmp_path / "second", partial)
    assert second.num_chunks == 2
    make(second, 2)
    second.close()
    assert second.path.read_bytes() == expected


def test_a_damaged_chunk_is_noticed(tmp_path: Path, partial: PartialClip, storage: LocalStorage):
    sink = chunked(tmp_path / "work", partial)
    make(sink, 0, 1)
    key = next(key for key in storage.list("partial/") if key.endswith("000000.mp4"))
    data = bytearray(storage.read(key))
    boxes = top_level_boxes(storage.root / key)
    data[next(box for box in boxes if box.kind == b"mdat").content + 50] ^= 1
    storage.put(key, bytes(data))
    with pytest.raises(MediaError, match="damaged"):
        sink.close()
    assert partial.num_chunks() == 0
