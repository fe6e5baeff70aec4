from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.shown_run import clip_request, moving_square
from videogen.errors import MediaError
from videogen.media import write_video
from videogen_pipelines.report.pictures import POSTER_PX, SLICE_PX, draw_pictures, flow_picture


def picture(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_pictures_of_a_clip(tmp_path: Path):
    frames = moving_square(clip_request("red", "x"))
    write_video(tmp_path / "a.mp4", iter([frames]), fps=12)
    found = draw_pictures(tmp_path / "a.mp4")
    assert (found.num_frames, found.fps, found.height, found.width) == (17, 12.0, 64, 64)
    assert set(found.files) == {"poster", "xt", "yt", "flow"}
    poster = picture(found.files["poster"]).astype(int)
    assert np.abs(poster - frames[0]).mean() < 12
    slices = picture(found.files["xt"])
    assert slices.shape[1] == 64
    rows = slices.shape[0] // 17
    red = slices[rows // 2 :: rows, :, 0].astype(int) > 120  # the middle of each frame's lines
    left = red.argmax(axis=1)
    assert left[0] == pytest.approx(4, abs=2)
    assert left[16] == pytest.approx(36, abs=2)  # it goes right, 2 pixels a frame
    assert all(len(content) < 8000 for content in found.files.values())


def test_a_long_large_clip_makes_small_pictures(tmp_path: Path):
    still = np.zeros((500, 96, 400, 3), np.uint8)
    write_video(tmp_path / "long.mp4", iter([still]), fps=25)
    found = draw_pictures(tmp_path / "long.mp4")
    assert picture(found.files["poster"]).shape == (round(96 * POSTER_PX / 400), POSTER_PX, 3)
    height, width, _ = picture(found.files["xt"]).shape
    assert width == SLICE_PX
    assert height <= 250


def test_flow_is_black_where_nothing_moves_and_has_one_hue_where_all_moves_one_way():
    noise = np.random.default_rng(0).integers(0, 255, (80, 200, 3), np.uint8)
    noise = np.asarray(Image.fromarray(noise).resize((400, 160), Image.Resampling.BICUBIC))
    still = np.stack([noise[:96, :128]] * 6)
    assert flow_picture(still).reshape(-1, 3)[:, 0].min() == 0
    assert np.median(flow_picture(still)) == 0
    moving = np.stack([noise[:96, 2 * t : 2 * t + 128] for t in range(6)])  # leftwards
    found = flow_picture(moving)[20:80, 20:108].astype(int)
    red, green, blue = np.median(found.reshape(-1, 3), axis=0)
    assert red > 100
    assert red > 2 * max(green, blue)


def test_no_picture_is_made_of_what_is_no_video(tmp_path: Path):
    (tmp_path / "x.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError):
        draw_pictures(tmp_path / "x.mp4")
