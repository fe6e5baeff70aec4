"""Pictures and ends of videos as frames of a clip: which ones, how large, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from videogen.errors import MediaError
from videogen.media import write_video
from videogen.media.start import check_picture, last_frames, read_picture


def halves(height: int, width: int) -> np.ndarray:
    """Red left, blue right."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, : width // 2, 0] = 255
    picture[:, width // 2 :, 2] = 255
    return picture


def grey_levels(frames: np.ndarray) -> list[int]:
    return [round(float(frame.mean()) / 10) for frame in frames]


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_a_picture_covers_the_clip_and_keeps_its_middle(tmp_path: Path, kind: str):
    path = tmp_path / f"a.{kind}"
    Image.fromarray(halves(40, 120)).save(path)
    frame = read_picture(path, 32, 64)
    assert (frame.shape, frame.dtype) == ((1, 32, 64, 3), np.uint8)
    assert frame[0, :, :28, 0].min() > 200
    assert frame[0, :, 36:, 2].min() > 200
    assert check_picture(path) == (40, 120)


def test_a_picture_of_the_right_size_is_taken_as_it_is(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png", 32, 48)[0], pixels)


def test_transparency_is_black_and_pictures_are_upright(tmp_path: Path):
    clear = np.zeros((8, 8, 4), np.uint8) + np.array([255, 255, 255, 0], np.uint8)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert read_picture(tmp_path / "clear.png", 8, 8).max() == 0
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown turned right by 90 degrees
    Image.fromarray(halves(32, 32)).save(tmp_path / "a.jpg", exif=turned, quality=95)
    frame = read_picture(tmp_path / "a.jpg", 32, 32)[0]
    assert frame[:12, :, 0].min() > 200
    assert frame[20:, :, 2].min() > 200


@pytest.mark.parametrize(
    ("fps", "count", "expected"),
    [(8.0, 3, [17, 18, 19]), (4.0, 3, [15, 17, 19]), (16.0, 3, [17, 18, 19]), (8.0, 99, None)],
)
def test_the_end_of_a_video_at_the_rate_of_the_clip(
    tmp_path: Path, fps: float, count: int, expected: list[int] | None
):
    levels = np.arange(20, dtype=np.uint8) * 10 + 20
    frames = np.broadcast_to(levels[:, None, None, None], (20, 40, 80, 3))
    write_video(tmp_path / "a.mp4", np.ascontiguousarray(frames), 8)
    found = last_frames(tmp_path / "a.mp4", count, fps, 32, 32)
    assert found.shape[1:] == (32, 32, 3)
    assert grey_levels(found) == [level + 2 for level in expected or range(20)]


@pytest.mark.parametrize(("turns", "edge"), [(1, "bottom"), (2, "right"), (3, "top")])
def test_a_video_is_shown_upright(tmp_path: Path, turn, turns: int, edge: str):
    path = tmp_path / "telephone.mp4"
    write_video(path, np.stack([halves(48, 96)] * 3), 8)
    turn(path, turns)
    (frame,) = last_frames(path, 1, 8.0, 32, 32)
    edges = {"top": frame[:8], "bottom": frame[-8:], "left": frame[:, :8], "right": frame[:, -8:]}
    assert edges[edge][..., 0].min() > 200  # where the red is, which is stored at the left


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [((1080, 1440), (480, 832)), ((720, 1280), (832, 480)), ((474, 474), (32, 32))],
)
def test_sizes_that_do_not_divide_are_fitted(
    tmp_path: Path, stored: tuple[int, int], wanted: tuple[int, int]
):
    Image.new("RGB", stored[::-1], "white").save(tmp_path / "a.png")
    frame = read_picture(tmp_path / "a.png", *wanted)
    assert frame.shape == (1, *wanted, 3)
    assert frame.min() == 255


@pytest.mark.parametrize("kind", ["png", "pgm", "tif"])
def test_greys_of_16_bits_keep_their_levels(tmp_path: Path, kind: str):
    ramp = np.arange(0, 1 << 16, 64, dtype=np.uint16).reshape(32, 32)
    Image.fromarray(ramp).save(tmp_path / f"a.{kind}")
    frame = read_picture(tmp_path / f"a.{kind}", 32, 32)[0, ..., 1]
    assert np.abs(frame - ramp / 257).max() <= 0.5


def test_what_is_no_picture_is_refused(tmp_path: Path):
    whole = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:2000])
    (tmp_path / "text.png").write_text("no picture")
    for name in ("text.png", "none.png"):
        with pytest.raises(MediaError, match=name):
            check_picture(tmp_path / name)
    with pytest.raises(MediaError, match=r"picture: got .*cut"):
        read_picture(tmp_path / "cut.png", 32, 32)
