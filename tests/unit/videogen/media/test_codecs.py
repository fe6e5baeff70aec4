from __future__ import annotations

from fractions import Fraction

import av
import pytest

from videogen.errors import ConfigError, EncodeError, MissingDependencyError
from videogen.media import codecs
from videogen.media.codecs import CODECS, Codec, Encoder, available_codecs, find_encoder
from videogen.media.spec import frame_rate
from videogen.media.writer import write_video

ONE_OF_EACH = {"h264": "avc1", "hevc": "hvc1", "av1": "av01", "vp9": "vp09"}


def test_four_codecs_are_known_and_this_build_writes_them_all():
    assert CODECS.names() == sorted(ONE_OF_EACH)
    assert sorted(available_codecs()) == sorted(ONE_OF_EACH)


@pytest.mark.parametrize("name", list(ONE_OF_EACH))
def test_a_file_holds_the_codec_asked_for_tagged_bt709(tmp_path, make_clip, name):
    path = tmp_path / "clip.mp4"
    write_video(path, make_clip(), 8, codec=name)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        assert stream.codec_context.codec.canonical_name == name
        assert stream.codec_context.codec_tag == ONE_OF_EACH[name]
        assert stream.codec_context.pix_fmt == "yuv420p"
        # 1 is BT.709 for matrix, primaries and transfer alike, and limited for the range.
        assert (frame.colorspace, frame.color_primaries, frame.color_trc) == (1, 1, 1)
        assert frame.color_range == 1


@pytest.mark.parametrize("name", list(ONE_OF_EACH))
def test_crf_reaches_the_encoder(tmp_path, make_clip, name):
    sizes = []
    for crf in (10, 45):
        write_video(tmp_path / "clip.mp4", make_clip(), 8, codec=name, crf=crf)
        sizes.append((tmp_path / "clip.mp4").stat().st_size)
    assert sizes[0] > 1.3 * sizes[1]


@pytest.mark.parametrize("crf", [-1, 52, 17.5, "17", True])
def test_a_crf_outside_the_codec_is_refused(crf):
    with pytest.raises(EncodeError, match=r"crf: got .* from 0 \(best\) to 51 for h264"):
        CODECS["h264"].check_crf(crf)


def test_no_crf_is_the_default():
    assert CODECS["vp9"].check_crf(None) == CODECS["vp9"].crf
    assert CODECS["av1"].check_crf(63) == 63


def test_an_unknown_codec_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"codec: got 'h265'.*av1, h264, hevc, vp9"):
        CODECS["h265"]


def test_a_missing_encoder_is_named_with_what_works(monkeypatch):
    monkeypatch.setattr(codecs, "_is_built_in", lambda name: name in ("libx264", "libvpx-vp9"))
    with pytest.raises(
        MissingDependencyError, match=r"'av1'.*libsvtav1 or libaom-av1.*expected one of h264, vp9"
    ):
        find_encoder(CODECS["av1"])


def test_the_second_candidate_is_used_where_the_first_is_missing(monkeypatch):
    monkeypatch.setattr(codecs, "_is_built_in", lambda name: name == "libaom-av1")
    assert find_encoder(CODECS["av1"]).name == "libaom-av1"


def test_an_encoder_no_build_has_is_not_built_in():
    codec = Codec("dream", (Encoder("libdream", {}),), crf=1, max_crf=2)
    with pytest.raises(MissingDependencyError, match="libdream"):
        find_encoder(codec)


@pytest.mark.parametrize(
    ("fps", "rate"),
    [
        (8, Fraction(8)),
        (12.5, Fraction(25, 2)),
        (23.976, Fraction(2997, 125)),
        (24000 / 1001, Fraction(24000, 1001)),
        (Fraction(30000, 1001), Fraction(30000, 1001)),
        (1 / 3, Fraction(1, 3)),
    ],
)
def test_frame_rates_are_kept_exactly(fps, rate):
    assert frame_rate(fps) == rate


@pytest.mark.parametrize("fps", [0, -8, 0.0001, 1001, float("nan"), float("inf")])
def test_impossible_frame_rates_are_refused(fps):
    with pytest.raises(EncodeError, match=r"fps: got .*expected 0.001 to 1000"):
        frame_rate(fps)
