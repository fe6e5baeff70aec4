"""PSNR and SSIM against values known in closed form."""

import numpy as np
import pytest

from videogen.errors import MediaError
from videogen.evaluation.paired import PairedScores, compare_clips, ssim

RNG = np.random.default_rng(0)
CLIP = RNG.integers(10, 240, (4, 24, 32, 3), dtype=np.uint8)


def test_equal_clips_are_perfect():
    scores = compare_clips([CLIP], [CLIP])
    assert scores["ref.psnr"].value == 100
    assert scores["ref.ssim"].value == pytest.approx(1)


def test_psnr_of_a_constant_offset():
    scores = compare_clips(np.split(CLIP, 4), np.split(CLIP + 5, 4))
    assert scores["ref.psnr"].value == pytest.approx(20 * np.log10(255 / 5))
    assert len(scores["ref.psnr"].curve) == 4


def test_psnr_of_a_clip_is_over_all_its_pixels():
    other = CLIP.copy()
    other[0] += 10
    scores = compare_clips([CLIP], [other])
    assert scores["ref.psnr"].value == pytest.approx(10 * np.log10(255**2 / 25))


def test_ssim_of_two_flat_images_is_the_light_term():
    one, other = np.full((16, 16, 3), 100, np.uint8), np.full((16, 16, 3), 120, np.uint8)
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 120 + c1) / (100**2 + 120**2 + c1)
    assert ssim(one, other) == pytest.approx(expected, rel=1e-9)


def test_unequal_shapes_are_refused():
    with pytest.raises(MediaError, match="paired clips"):
        PairedScores().add(CLIP, CLIP[:, :8])
    with pytest.raises(MediaError, match="longer than the other"):
        compare_clips([CLIP], [CLIP[:3]])
    with pytest.raises(MediaError, match="no frames"):
        compare_clips([], [])


def test_portions_need_not_match():
    assert compare_clips([CLIP], np.split(CLIP, [1, 3]))["ref.psnr"].value == 100
