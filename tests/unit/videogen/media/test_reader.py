from __future__ import annotations

import sys
import tracemalloc
import wave

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from videogen.errors import ConfigError, MediaError, MissingDependencyError
from videogen.media.boxes import top_level_boxes
from videogen.media.codecs import CODECS
from videogen.media.container import quarter_turns
from videogen.media.decord_reader import open_with_decord
from videogen.media.reader import iter_video, probe, read_video
from videogen.media.writer import write_video

READERS = (
    read_video,
    lambda path: read_video(path, "pyav"),
    lambda path: next(iter_video(path)),
    probe,
)


@pytest.fixture
def clip(tmp_path, make_clip):
    path = tmp_path / "clip.mp4"
    write_video(path, make_clip(), 8, metadata={"prompt": "p"})
    return path


@pytest.fixture
def no_decord(monkeypatch):
    monkeypatch.setitem(sys.modules, "decord", None)


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9"])
@pytest.mark.parametrize("size", [(18, 30), (47, 65), (64, 64), (98, 126), (130, 146)])
def test_decord_and_pyav_give_the_same_frames_exactly(tmp_path, codec, size):
    pytest.importorskip("decord")
    noise = np.random.default_rng(0).integers(0, 256, (7, *size, 3), dtype=np.uint8)
    write_video(tmp_path / "clip.mp4", noise, 12.5, codec=codec)
    ours, fps = read_video(tmp_path / "clip.mp4", "decord")
    reference, _ = read_video(tmp_path / "clip.mp4", "pyav")
    assert fps == 12.5
    assert np.array_equal(ours, reference)
    assert ours.shape == noise.shape


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(height=st.integers(1, 80), width=st.integers(1, 80), seed=st.integers(0, 9))
def test_auto_and_pyav_give_the_same_frames_at_any_size(tmp_path, height, width, seed):
    noise = np.random.default_rng(seed).integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    write_video(tmp_path / "clip.mp4", noise, 8)
    frames, _ = read_video(tmp_path / "clip.mp4")
    reference, _ = read_video(tmp_path / "clip.mp4", "pyav")
    assert np.array_equal(frames, reference)


def test_auto_reads_with_decord_where_it_can(clip):
    pytest.importorskip("decord")
    frames = open_with_decord(clip, probe(clip))(range(2, 5))
    assert np.array_equal(frames, read_video(clip)[0][2:5])


def test_auto_reads_with_pyav_what_decord_cannot(tmp_path, make_clip):
    pytest.importorskip("decord")
    for codec, size in (("av1", (48, 64)), ("h264", (16, 16))):
        write_video(tmp_path / "clip.mp4", make_clip(5, *size), 8, codec=codec)
        assert read_video(tmp_path / "clip.mp4")[0].shape == (5, *size, 3)
        with pytest.raises(MediaError, match=r"decord: got .*clip\.mp4, which it cannot read"):
            read_video(tmp_path / "clip.mp4", "decord")


@pytest.mark.parametrize("turns", [1, 2])
def test_frames_are_as_they_lie_in_the_file_whoever_reads_it(tmp_path, make_clip, turn, turns):
    path = tmp_path / "clip.mp4"
    write_video(path, make_clip(5, 64, 64), 8)
    expected, _ = read_video(path)
    turn(path, turns)
    assert quarter_turns(path) == turns
    for backend in ("auto", "pyav"):
        assert np.array_equal(read_video(path, backend)[0], expected)


def test_without_decord_auto_gives_the_same_frames(clip, no_decord):
    frames, _ = read_video(clip)
    assert np.array_equal(frames, read_video(clip, "pyav")[0])
    with pytest.raises(MissingDependencyError, match=r"decord: .*pip install decord"):
        iter_video(clip, backend="decord")


@pytest.mark.parametrize("backend", ["auto", "pyav"])
@pytest.mark.parametrize(("chunk", "lengths"), [(1, [1] * 9), (4, [4, 4, 1]), (9, [9]), (32, [9])])
def test_chunks_follow_one_another(clip, backend, chunk, lengths):
    chunks = list(iter_video(clip, chunk, backend))
    assert [len(c) for c in chunks] == lengths
    assert np.array_equal(np.concatenate(chunks), read_video(clip)[0])
    assert all(c.dtype == np.uint8 for c in chunks)


@pytest.mark.parametrize("backend", ["auto", "pyav"])
def test_memory_is_a_chunk_and_not_the_file(tmp_path, make_clip, backend):
    """256 frames of 96 x 128 are 9 MiB; a chunk of 8 is 0.3 MiB."""
    write_video(tmp_path / "clip.mp4", (make_clip(16, 96, 128) for _ in range(16)), 8)
    tracemalloc.start()
    num_frames = sum(len(chunk) for chunk in iter_video(tmp_path / "clip.mp4", 8, backend))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert num_frames == 256
    assert peak < 2 * 2**20


@pytest.mark.parametrize("codec", list(CODECS))
def test_probe_tells_what_was_written(tmp_path, make_clip, codec):
    write_video(tmp_path / "c.mp4", make_clip(9, 47, 65), 12.5, codec=codec, metadata={"seed": "7"})
    info = probe(tmp_path / "c.mp4")
    assert (info.num_frames, info.height, info.width, info.fps) == (9, 47, 65, 12.5)
    assert info.duration_s == pytest.approx(0.72)
    assert (info.codec, info.pixel_format) == (codec, "yuv420p")
    assert info.metadata == {"seed": "7"}


@pytest.mark.parametrize("suffix", ["mkv", "webm", "ts", "mov"])
def test_other_containers_are_read_too(tmp_path, make_clip, remux, suffix):
    codec = "vp9" if suffix == "webm" else "h264"
    source = tmp_path / "source.mp4"
    write_video(source, make_clip(), 8, codec=codec)
    path = remux(source, tmp_path / f"clip.{suffix}")
    info = probe(path)
    assert (info.num_frames, info.fps) == (9, 8)
    assert info.duration_s == pytest.approx(9 / 8, abs=0.13)
    assert np.array_equal(read_video(path)[0], read_video(source)[0])


def test_a_file_rescaled_elsewhere_is_not_cropped_by_the_old_note(tmp_path, make_clip):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w", container_options={"movflags": "use_metadata_tags"}) as container:
        container.metadata["videogen_size"] = "65x47"
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for frame in make_clip(3, 96, 128):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    assert read_video(path)[0].shape == (3, 96, 128, 3)


def test_colons_and_spaces_in_a_path_are_only_names(tmp_path, make_clip, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video("http:clip %d 100%.mp4", make_clip(2), 8)
    assert read_video("http:clip %d 100%.mp4")[0].shape == (2, 48, 64, 3)


def not_videos(folder):
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("hello, world\n" * 99)
    (folder / "notes.txt").write_text("hello, world\n" * 99)
    (folder / "playlist.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nclip.mp4\n#EXT-X-ENDLIST\n")
    (folder / "concat.ffconcat").write_text("ffconcat version 1.0\nfile clip.mp4\n")
    (folder / "random.mp4").write_bytes(np.random.default_rng(0).bytes(9999))
    (folder / "folder.mp4").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "image.png")
    with wave.open(str(folder / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(999))
    return [
        "missing.mp4",
        *(p.name for p in folder.iterdir() if p.name != "clip.mp4"),
    ]


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_video_is_named(clip, read):
    for name in not_videos(clip.parent):
        with pytest.raises(MediaError, match=rf"got .*{name}"):
            read(clip.parent / name)


def test_what_is_wrong_is_said(clip):
    not_videos(clip.parent)
    for name, what in (
        ("missing.mp4", "is no file"),
        ("folder.mp4", "is a folder"),
        ("empty.mp4", "it is empty"),
    ):
        with pytest.raises(MediaError, match=what):
            iter_video(clip.parent / name)
    clip.write_bytes(clip.read_bytes()[:-7])
    with pytest.raises(MediaError, match="cut short by 7 bytes"):
        probe(clip)


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(
            np.zeros((1, 8000), np.float32), format="fltp", layout="mono"
        )
        silence.sample_rate = 8000
        container.mux([*stream.encode(silence), *stream.encode(None)])
    with pytest.raises(MediaError, match="has no video stream"):
        probe(tmp_path / "sound.mp4")


@pytest.mark.parametrize("read", READERS[:3])
@pytest.mark.parametrize("faststart", [True, False])
def test_a_file_cut_short_anywhere_is_refused(tmp_path, make_clip, read, faststart):
    path = tmp_path / "clip.mp4"
    write_video(path, make_clip(), 8, faststart=faststart)
    data = path.read_bytes()
    ends = [box.end for box in top_level_boxes(path)[:-2]]
    for cut in [*ends, *np.linspace(0, len(data) - 1, 23).astype(int)]:
        path.write_bytes(data[:cut])
        with pytest.raises(MediaError, match=r"clip\.mp4"):
            read(path)


@pytest.mark.parametrize("backend", ["auto", "pyav"])
def test_damage_is_never_concealed_with_or_without_a_seal(tmp_path, make_clip, unseal, backend):
    path = tmp_path / "clip.mp4"
    write_video(path, make_clip(17), 8)
    for whole in (path.read_bytes(), unseal(path.read_bytes())):
        data = bytearray(whole)
        middle = data.find(b"mdat") + len(data) // 2
        data[middle : middle + 60] = bytes(60)
        path.write_bytes(data)
        with pytest.raises(MediaError, match=path.name):
            read_video(path, backend)


def test_arguments_are_checked_at_once(clip):
    with pytest.raises(ConfigError, match=r"backend: got 'deckord'.*Did you mean 'decord'"):
        iter_video(clip, backend="deckord")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="chunk: got 0"):
        iter_video(clip, chunk=0)
