from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from videogen.errors import MediaError
from videogen.media.codecs import CODECS
from videogen.media.spec import VideoSpec
from videogen.media.verify import verify_video
from videogen.media.writer import write_video

SPEC = VideoSpec(9, 48, 64, 8)


@pytest.fixture
def clip(tmp_path, make_clip):
    path = tmp_path / "clip.mp4"
    write_video(path, make_clip(), 8)
    return path


@pytest.mark.parametrize("codec", list(CODECS))
@pytest.mark.parametrize("fps", [8, 23.976])
def test_what_was_written_passes(tmp_path, make_clip, codec, fps):
    spec = write_video(tmp_path / "clip.mp4", make_clip(9, 47, 65), fps, codec=codec)
    verify_video(tmp_path / "clip.mp4", spec)
    verify_video(tmp_path / "clip.mp4", replace(spec, fps=fps))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_frames": 10}, "frames: got 9, expected 10; duration in seconds: got 1.125"),
        ({"num_frames": 8}, "frames: got 9, expected 8"),
        ({"height": 47}, "height: got 48, expected 47"),
        ({"width": 66}, "width: got 64, expected 66"),
        ({"fps": 16}, r"fps: got 8, expected 16; duration .*; time of frame 1 in seconds"),
        ({"fps": 8.01}, "fps: got 8, expected 8.01"),
    ],
)
def test_every_difference_is_named(clip, change, message):
    with pytest.raises(MediaError, match=rf"clip\.mp4: .*{message}.*Fix: "):
        verify_video(clip, replace(SPEC, **change))


def test_ntsc_rates_may_be_written_short_but_are_not_the_whole_rate(tmp_path, make_clip):
    write_video(tmp_path / "clip.mp4", make_clip(), Fraction(24000, 1001))
    verify_video(tmp_path / "clip.mp4", VideoSpec(9, 48, 64, 23.976))
    with pytest.raises(MediaError, match=r"fps: got 23\.976, expected 24"):
        verify_video(tmp_path / "clip.mp4", VideoSpec(9, 48, 64, 24))


def test_a_frame_shown_at_the_wrong_time_is_named(tmp_path):
    """Nine frames in the right total time, but the fifth comes a whole frame late."""
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 16)
        for pts in (0, 2, 4, 6, 10, 11, 12, 14, 16):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base, frame.duration = pts, Fraction(1, 16), 2
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match=r"time of frame 4 in seconds: got 0\.625, expected 0\.5"):
        verify_video(tmp_path / "clip.mp4", SPEC)


@pytest.mark.parametrize("codec", list(CODECS))
def test_every_cut_is_noticed(tmp_path, make_clip, codec):
    path = tmp_path / "clip.mp4"
    for faststart in (True, False):
        spec = write_video(path, make_clip(), 8, codec=codec, faststart=faststart)
        data = path.read_bytes()
        media = data.find(b"mdat")
        cuts = {0, 3, 8, 40, media - 4, media, media + 4, media + 90, len(data) // 2, len(data) - 1}
        for cut in cuts:
            path.write_bytes(data[:cut])
            with pytest.raises(MediaError, match=r"clip\.mp4"):
                verify_video(path, spec)


@pytest.mark.parametrize("codec", list(CODECS))
def test_one_flipped_bit_in_the_pictures_is_noticed(tmp_path, make_clip, codec):
    path = tmp_path / "clip.mp4"
    spec = write_video(path, make_clip(), 8, codec=codec)
    data = path.read_bytes()
    media, end = data.find(b"mdat") + 4, data.rfind(b"uuid") - 4
    for place in np.linspace(media, end - 1, 12).astype(int):
        altered = bytearray(data)
        altered[place] ^= 1
        path.write_bytes(altered)
        with pytest.raises(MediaError, match="changed after they were written"):
            verify_video(path, spec)


@pytest.mark.parametrize("codec", list(CODECS))
def test_zeroed_pictures_are_noticed_without_a_seal(tmp_path, make_clip, unseal, codec):
    path = tmp_path / "clip.mp4"
    spec = write_video(path, make_clip(17), 8, codec=codec)
    whole = unseal(path.read_bytes())
    path.write_bytes(whole)
    verify_video(path, spec)
    middle, quarter = (whole.find(b"mdat") + len(whole)) // 2, len(whole) // 4
    path.write_bytes(whole[:middle] + bytes(quarter) + whole[middle + quarter :])
    with pytest.raises(MediaError, match=r"clip\.mp4"):
        verify_video(path, spec)


def test_hevc_pictures_carry_checksums_of_their_own(tmp_path, make_clip, unseal):
    """All but flips in the checksums' own headers are noticed; without checksums, one in five."""
    path = tmp_path / "clip.mp4"
    spec = write_video(path, make_clip(17), 8, codec="hevc")
    whole = unseal(path.read_bytes())
    middle = (whole.find(b"mdat") + len(whole)) // 2
    noticed = 0
    for place in np.linspace(middle, len(whole) - 9, 20).astype(int):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        try:
            verify_video(path, spec)
        except MediaError:
            noticed += 1
    assert noticed >= 17
