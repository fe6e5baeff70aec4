from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from videogen.errors import InvalidRequestError, NonFiniteError
from videogen.media.frames import contact_sheet, to_float, to_uint8


def test_every_pixel_value_survives_the_way_there_and_back():
    frames = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1).repeat(3, -1)
    values = to_float(frames)
    assert values.shape == (3, 4, 8, 8)
    assert values.dtype == np.float32
    assert (values.min(), values.max()) == (-1, 1)
    assert np.array_equal(to_uint8(values), frames)


def test_the_axes_go_where_they_belong():
    frames = np.zeros((2, 3, 5, 3), np.uint8)
    frames[1, 2, 4, 0] = 255
    values = to_float(frames)
    assert values[0, 1, 2, 4] == 1
    assert values.sum() == 2 - values.size


def test_values_are_rounded_to_the_nearest_and_clipped():
    values = np.array([-2, -1, -1 + 0.6 / 127.5, -0.4 / 127.5, 0.6 / 127.5, 1, 7], np.float32)
    pixels = to_uint8(np.broadcast_to(values, (3, 1, 1, 7)))
    assert pixels[0, 0, :, 0].tolist() == [0, 0, 1, 127, 128, 255, 255]
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_tensors_are_taken_as_they_come(dtype):
    torch = pytest.importorskip("torch")
    values = torch.linspace(-1, 1, 24).reshape(3, 2, 2, 2).to(getattr(torch, dtype))
    pixels = to_uint8(values.requires_grad_())
    assert np.array_equal(pixels, to_uint8(values.detach().float().numpy()))


def test_torch_is_not_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert to_uint8(np.zeros((3, 1, 2, 2), np.float32)).shape == (1, 2, 2, 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_values_are_counted(bad):
    values = np.zeros((3, 2, 4, 4), np.float32)
    values[0, 0, 0, :2] = bad
    with pytest.raises(NonFiniteError, match="got 2 NaN or infinite values of 96"):
        to_uint8(values)


def test_other_ranks_are_refused():
    with pytest.raises(InvalidRequestError, match="expected c t h w"):
        to_uint8(np.zeros((1, 3, 2, 4, 4), np.float32))
    with pytest.raises(InvalidRequestError, match="expected t h w c"):
        to_float(np.zeros((4, 4, 3), np.uint8))


@given(hnp.arrays(np.float32, (3, 1, 2, 3), elements=st.floats(-1, 1, width=32)))
def test_pixels_are_within_half_a_level(values):
    assert np.abs(to_float(to_uint8(values)) - values).max() <= 0.5 / 127.5 + 1e-6


def solid(level: int, height: int = 10, width: int = 12) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def test_frames_are_laid_out_in_rows_and_keep_their_pixels():
    sheet = contact_sheet([[solid(1), solid(2)], [solid(3)]])
    assert sheet.shape == (4 + 2 * 14, 4 + 2 * 16, 3)
    assert (sheet[4:14, 4:16] == 1).all()
    assert (sheet[4:14, 20:32] == 2).all()
    assert (sheet[18:28, 4:16] == 3).all()
    assert (sheet[18:28, 20:32] == 24).all()


def test_frames_of_different_sizes_share_a_grid():
    sheet = contact_sheet([[solid(1, 4, 6), solid(2, 10, 12)]])
    assert (sheet[4:8, 4:10] == 1).all()
    assert (sheet[4:14, 20:32] == 2).all()


def test_labels_are_drawn_above_their_rows():
    frames = [[solid(1, 20, 90)], [solid(2, 20, 90)]]
    sheet = contact_sheet(frames, ["a red circle", "moves right"])
    plain = contact_sheet(frames)
    assert sheet.shape[0] == plain.shape[0] + 2 * 21
    assert sheet[4:25].max() > 200
    assert not np.array_equal(sheet[4:25], sheet[49:70])
    assert (sheet[25:45, 4:94] == 1).all()


def test_a_long_label_is_cut_and_any_text_is_drawn():
    frames = [[solid(0, 20, 60)]]
    long = contact_sheet(frames, ["word " * 2000])
    assert long.shape == contact_sheet(frames, ["x"]).shape
    assert (long[:, -4:] == 24).all()
    contact_sheet(frames, ["日本語 🟥\nnew line"])
    contact_sheet(frames, [""])


def test_a_sheet_needs_frames_and_a_label_for_each_row():
    with pytest.raises(InvalidRequestError, match="rows: got no frame"):
        contact_sheet([[], []])
    with pytest.raises(InvalidRequestError, match="labels: got 1, expected one per row, 2"):
        contact_sheet([[solid(0)], [solid(0)]], ["one"])
