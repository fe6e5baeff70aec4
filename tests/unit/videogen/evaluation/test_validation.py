"""The statistics of the validation, and corruptions that do what their name says."""

import numpy as np
import pytest

from videogen.evaluation import METRICS, Evaluator
from videogen.evaluation.validation import (
    CORRUPTIONS,
    Row,
    markdown,
    measure,
    rendered_clips,
    summarise,
)
from videogen.evaluation.validation.corruptions import GRADES, boundaries_of
from videogen.evaluation.validation.impostors import COSMETICS, IMPOSTORS
from videogen.evaluation.validation.report import auc, spearman

CLIP = rendered_clips(1)[0]


def test_auc_is_the_share_of_pairs_in_order():
    assert auc([1, 2], [3, 4]) == 1
    assert auc([3, 4], [1, 2]) == 0
    assert auc([1, 3], [2, 3]) == (1 + 0 + 1 + 0.5) / 4
    assert np.isnan(auc([], [1]))


def test_spearman_has_mean_ranks_for_ties():
    assert spearman([0, 1, 2, 3], [5, 6, 9, 30]) == pytest.approx(1)
    assert spearman([0, 1, 2, 3], [4, 3, 2, 1]) == pytest.approx(-1)
    assert spearman([0, 1, 2, 3], [1, 1, 1, 1]) == 0
    assert spearman([0, 1, 2, 3], [1, 1, 2, 2]) == pytest.approx(2 / 5**0.5)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.name)
def test_corruptions_keep_the_format_repeat_and_grow(corruption):
    changes = []
    for grade in GRADES:
        spoiled = corruption.apply(CLIP.frames, grade, seed=5)
        assert spoiled.dtype == np.uint8
        assert spoiled.shape[1:] == CLIP.frames.shape[1:]
        np.testing.assert_array_equal(spoiled, corruption.apply(CLIP.frames, grade, seed=5))
        same = min(len(spoiled), len(CLIP.frames))
        changes.append(np.abs(spoiled[:same].astype(int) - CLIP.frames[:same]).mean())
    assert changes[0] < changes[-1]
    np.testing.assert_array_equal(corruption.apply(CLIP.frames, 0, seed=5), CLIP.frames)
    assert corruption.caught_by in METRICS


def test_drop_takes_frames_out_and_duplicate_and_freeze_do_not():
    lengths = {c.name: len(c.apply(CLIP.frames, 4, 0)) for c in CORRUPTIONS}
    assert lengths.pop("drop") == len(CLIP.frames) - 5
    assert set(lengths.values()) == {len(CLIP.frames)}
    freeze = next(c for c in CORRUPTIONS if c.name == "freeze").apply(CLIP.frames, 3, 0)
    assert (freeze[-1] == freeze[len(freeze) // 2]).all()
    assert not (freeze[0] == freeze[1]).all()


def test_rendered_clips_move_and_repeat():
    clips = rendered_clips(6)
    for clip, again in zip(clips, rendered_clips(6), strict=True):
        np.testing.assert_array_equal(clip.frames, again.frames)
        assert (clip.frames[0] != clip.frames[5]).any()
    assert len({clip.frames.shape for clip in clips}) > 1


def test_one_clip_gives_a_row_for_every_treatment():
    rows = measure(CLIP, Evaluator(["vbench.temporal_flickering"]), seed=0)
    assert len(rows) == 1 + len(CORRUPTIONS) * len(GRADES) + len(IMPOSTORS) + len(COSMETICS)
    clean, *_ = (row.values["vbench.temporal_flickering"] for row in rows)
    frozen = next(row.values for row in rows if row.corruption == "frozen")
    assert frozen["vbench.temporal_flickering"] == 1 > clean
    assert boundaries_of(17) == (4, 8, 12)


def perfect_rows():
    """Three clips of which every metric gets worse with the grade, and scores that fall."""
    rows = []
    for clip in range(3):
        for name, grades in [
            ("clean", (0,)),
            *((c.name, GRADES) for c in CORRUPTIONS),
            *((name, (4,)) for name in (*IMPOSTORS, *COSMETICS)),
        ]:
            for grade in grades:
                bad = grade + 0.1 * clip
                values = {
                    metric: -bad if METRICS[metric].direction == "higher" else bad
                    for metric in METRICS
                }
                rows.append(Row(f"c{clip}", name, grade, values))
    return rows


def test_the_summary_of_perfect_metrics_is_perfect_in_any_order():
    rows = perfect_rows()
    validation = summarise(rows)
    assert validation.missed == []
    cell = validation.cells["noise"]["frame.noise"]
    assert (cell.spearman, cell.auc, cell.auc_all) == pytest.approx((1, 1, 1))
    assert validation.raised["noise"][0] == 0
    assert summarise(reversed(rows)) == validation
    table = markdown(validation)
    assert "| noise | 2, 5, 12, 30 levels | `frame.noise` rises | 1.00 | 1.000 | 1.000 |" in table
    assert "Clips: 3." in table


def test_a_blind_metric_is_reported_as_missing_its_corruption():
    rows = [
        Row(row.clip, row.corruption, row.grade, {**row.values, "frame.noise": 0.0})
        for row in perfect_rows()
    ]
    validation = summarise(rows)
    assert validation.missed == ["noise"]
    assert validation.cells["noise"]["frame.noise"].auc == 0.5
