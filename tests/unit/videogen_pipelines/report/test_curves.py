from __future__ import annotations

import pytest

from videogen_pipelines.report.curves import MAX_POINTS, PROFILE_BINS, Profiles, shorten


@pytest.mark.parametrize(("direction", "worst"), [("lower", 9.0), ("info", 9.0), ("higher", -9.0)])
def test_no_fault_gets_lost_when_a_curve_is_shortened(direction: str, worst: float):
    curve: list[float | None] = [1.0] * 10_000
    curve[777] = worst
    found = shorten(curve, direction)
    assert found["step"] == 42
    assert len(found["values"]) == 239 <= MAX_POINTS
    assert found["values"][777 // 42] == worst
    assert set(found["values"]) == {1.0, worst}


def test_gaps_stay_gaps():
    assert shorten([None, 0.5, None], "lower") == {"step": 1, "values": [None, 0.5, None]}
    long: list[float | None] = [None] * 500 + [2.0] * 500
    found = shorten(long, "higher")["values"]
    assert found[0] is None
    assert found[-1] == 2.0


def test_profiles_follow_the_length_of_clips_whatever_it_is():
    profiles = Profiles()
    profiles.add({"drift": [i / 11 for i in range(12)]})
    profiles.add({"drift": [i / 599 for i in range(600)]})
    profiles.add({"drift": [None], "other": [1.0]})  # says nothing about time
    found = profiles.to_dict()
    assert found.keys() == {"drift"}
    assert found["drift"]["clips"] == 2
    middle = found["drift"]["p50"]
    assert len(middle) == PROFILE_BINS
    assert middle == sorted(middle)
    assert middle[0] < 0.05
    assert middle[-1] > 0.95


def test_a_profile_has_a_middle_and_tails():
    profiles = Profiles()
    for value in range(11):
        profiles.add({"m": [float(value), None, float(value)]})
    found = profiles.to_dict()["m"]
    assert (found["p10"][0], found["p50"][0], found["p90"][0]) == (1.0, 5.0, 9.0)
    assert found["p50"][PROFILE_BINS // 2 - 1] is None
