from __future__ import annotations

import pytest

from videogen.media.boxes import append_seal, missing_bytes, seal_holds, top_level_boxes
from videogen.media.writer import write_video


def box(kind: bytes, content: bytes = b"") -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


WHOLE = box(b"ftyp", b"isom") + box(b"moov", b"m" * 20) + box(b"mdat", b"d" * 40)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "clip.mp4"


def test_boxes_are_found_with_their_places(path):
    path.write_bytes(WHOLE)
    assert [(b.kind, b.start, b.content, b.end) for b in top_level_boxes(path)] == [
        (b"ftyp", 0, 8, 12),
        (b"moov", 12, 20, 40),
        (b"mdat", 40, 48, 88),
    ]


def test_sizes_of_64_bits_and_to_the_end_are_understood(path):
    large = (1).to_bytes(4, "big") + b"mdat" + (16 + 5).to_bytes(8, "big") + b"abcde"
    path.write_bytes(box(b"ftyp") + large + (0).to_bytes(4, "big") + b"free" + b"rest")
    assert [(b.kind, b.content, b.end) for b in top_level_boxes(path)] == [
        (b"ftyp", 8, 8),
        (b"mdat", 24, 29),
        (b"free", 37, 41),
    ]
    assert missing_bytes(path) == 0


@pytest.mark.parametrize("cut", [1, 5, 39, 40])
def test_a_cut_inside_the_last_box_is_measured(path, cut):
    path.write_bytes(WHOLE[:-cut])
    assert missing_bytes(path) == cut


def test_a_cut_inside_a_header_is_noticed(path):
    path.write_bytes(WHOLE[:43])
    assert missing_bytes(path) == 5


@pytest.mark.parametrize(
    "data", [WHOLE, WHOLE + b"TAG" + b"a song" * 20, b"RIFF1234AVI ", b"hello, world" * 9]
)
def test_nothing_is_missing_from_whole_or_other_files(path, data):
    path.write_bytes(data)
    assert missing_bytes(path) == 0


def test_the_seal_breaks_with_the_media_data_alone(path):
    path.write_bytes(WHOLE)
    assert seal_holds(path) is None
    append_seal(path)
    sealed = path.read_bytes()
    assert seal_holds(path) is True
    assert sealed.startswith(WHOLE)
    for place, holds in ((20, True), (48, False), (87, False), (len(sealed) - 1, False)):
        altered = bytearray(sealed)
        altered[place] ^= 1
        path.write_bytes(altered)
        assert seal_holds(path) is holds


def test_moving_the_media_data_keeps_the_seal(path):
    path.write_bytes(WHOLE)
    append_seal(path)
    path.write_bytes(path.read_bytes().replace(box(b"moov", b"m" * 20), box(b"moov", b"mm")))
    assert seal_holds(path) is True


def test_the_writer_seals(path, make_clip):
    write_video(path, make_clip(), 8)
    assert seal_holds(path) is True
    assert top_level_boxes(path)[-1].kind == b"uuid"
