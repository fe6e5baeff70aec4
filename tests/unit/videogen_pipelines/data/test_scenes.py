"""Cuts to spans: everything is covered, in order, and nothing is longer than allowed."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from videogen_pipelines.data.scenes import Span, find_cuts, pieces, scenes


def test_few_frames_need_a_larger_step_for_a_cut():
    curve = np.zeros(5)
    curve[2] = 8.3
    assert find_cuts(curve) == []
    assert find_cuts(np.concatenate([curve, np.zeros(20)])) == [2]
    curve[[1, 2]] = np.nan, 20
    assert find_cuts(curve) == [2]


def test_a_cut_is_the_first_frame_of_what_follows():
    assert scenes(30, [10, 25]) == [Span(0, 10), Span(10, 25), Span(25, 30)]
    assert scenes(30, []) == [Span(0, 30)]
    assert scenes(30, [0, 30, 41]) == [Span(0, 30)]


def test_long_scenes_are_divided_evenly():
    assert list(pieces(Span(5, 15), 4)) == [Span(5, 8), Span(8, 11), Span(11, 15)]
    assert list(pieces(Span(5, 15), 10)) == [Span(5, 15)]


@given(
    num_frames=st.integers(1, 400),
    cuts=st.lists(st.integers(0, 400), max_size=8),
    longest=st.integers(1, 100),
)
def test_every_frame_is_in_one_part(num_frames: int, cuts: list[int], longest: int):
    parts = [part for scene in scenes(num_frames, cuts) for part in pieces(scene, longest)]
    frames = [frame for part in parts for frame in range(part.start, part.stop)]
    assert frames == list(range(num_frames))
    assert max(part.num_frames for part in parts) <= longest
    assert all(part.num_frames for part in parts)
