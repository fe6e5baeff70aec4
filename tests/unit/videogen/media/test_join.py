"""Joined files: the frames of all segments bit for bit, in time, whole, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from videogen.errors import EncodeError, MediaError
from videogen.media import CODECS, VideoSpec, probe, read_video, verify_video, write_video
from videogen.media.boxes import seal_holds, top_level_boxes
from videogen.media.join import join_videos

LENGTHS = (9, 1, 3, 20)


@pytest.fixture
def segments(tmp_path: Path, make_clip: Callable[..., np.ndarray]) -> Callable[..., list[Path]]:
    def make(codec: str = "h264", fps: float = 8.0, height: int = 48, width: int = 64):
        paths = []
        for index, count in enumerate(LENGTHS):
            path = tmp_path / f"{codec}-{index}.mp4"
            frames = make_clip(count, height, width, seed=31 * index)
            write_video(path, frames, fps, codec=codec, metadata={"chunk": str(index)})
            paths.append(path)
        return paths

    return make


@pytest.mark.parametrize("codec", list(CODECS))
@pytest.mark.parametrize(("fps", "height", "width"), [(8.0, 48, 64), (24000 / 1001, 35, 51)])
def test_frames_are_those_of_the_segments(
    segments: Callable[..., list[Path]],
    tmp_path: Path,
    codec: str,
    fps: float,
    height: int,
    width: int,
):
    paths = segments(codec, fps, height, width)
    target = tmp_path / "joined.mp4"
    assert join_videos(target, paths, fps, {"clip_id": "x"}) == sum(LENGTHS)
    expected = np.concatenate([read_video(path)[0] for path in paths])
    for backend in ("pyav", "auto"):
        np.testing.assert_array_equal(read_video(target, backend)[0], expected)
    verify_video(target, VideoSpec(sum(LENGTHS), height, width, fps))
    info = probe(target)
    assert (info.metadata, info.codec) == ({"clip_id": "x"}, codec)
    assert seal_holds(target)
    kinds = [box.kind for box in top_level_boxes(target)]
    assert kinds.index(b"moov") < kinds.index(b"mdat")


def test_the_same_segments_give_the_same_bytes_and_are_read_one_by_one(
    segments: Callable[..., list[Path]], tmp_path: Path
):
    copies = {name: tmp_path / f"{name}.mp4" for name in ("one", "two")}

    def passing() -> Iterator[Path]:
        for path in segments():
            place = tmp_path / "only.mp4"
            path.rename(place)
            yield place
            place.unlink()

    join_videos(copies["one"], segments(), 8)
    join_videos(copies["two"], passing(), 8)
    assert copies["one"].read_bytes() == copies["two"].read_bytes()


def test_every_segment_starts_with_a_frame_of_its_own(
    segments: Callable[..., list[Path]], tmp_path: Path
):
    target = tmp_path / "joined.mp4"
    join_videos(target, segments(), 8)
    with av.open(str(target)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    times = [packet.dts for packet in packets]
    assert times == sorted(set(times))
    keys = [index for index, packet in enumerate(packets) if packet.is_keyframe]
    assert {0, 9, 10, 13} <= set(keys)


@pytest.mark.parametrize("change", ["damaged", "other", "none", "missing"])
def test_what_cannot_be_joined_leaves_nothing(
    segments: Callable[..., list[Path]], tmp_path: Path, change: str
):
    paths = segments()
    if change == "damaged":
        data = bytearray(paths[2].read_bytes())
        box = next(box for box in top_level_boxes(paths[2]) if box.kind == b"mdat")
        data[box.content + 40] ^= 1
        paths[2].write_bytes(data)
    elif change == "other":
        write_video(paths[1], read_video(paths[1])[0], 8, codec="hevc")
    elif change == "missing":
        paths[1].unlink()
    target = tmp_path / "out/joined.mp4"
    target.parent.mkdir()
    with pytest.raises(MediaError):
        join_videos(target, paths if change != "none" else [], 8)
    assert list(target.parent.iterdir()) == []


def test_a_target_that_cannot_be_written_is_named(
    segments: Callable[..., list[Path]], tmp_path: Path
):
    with pytest.raises(EncodeError, match="nowhere"):
        join_videos(tmp_path / "nowhere/joined.mp4", segments(), 8)
