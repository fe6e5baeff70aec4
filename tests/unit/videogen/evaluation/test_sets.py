"""Fréchet distance against its closed form, diversity, and their warnings."""

import numpy as np
import pytest

from videogen.errors import ConfigError
from videogen.evaluation import Evaluator
from videogen.evaluation.sets import diversity, frechet_distance, prompt_diversity
from videogen.shapes import WORLDS, render, sample_scene


def gaussian(n, mean, spread, seed):
    return mean + spread * np.random.default_rng(seed).standard_normal((n, len(mean)))


def test_a_set_has_no_distance_to_itself_and_order_does_not_matter():
    features = gaussian(300, np.zeros(6), 2.0, 0)
    assert frechet_distance(features, features[::-1]).value == pytest.approx(0, abs=1e-9)


def test_independent_components_give_the_closed_form():
    reference = gaussian(20_000, np.zeros(3), 1.0, 1)
    features = gaussian(20_000, np.array([3.0, 0, 0]), np.array([1.0, 2.0, 1.0]), 2)
    expected = 3.0**2 + (2 - 1) ** 2
    assert frechet_distance(features, reference).value == pytest.approx(expected, rel=0.03)


def test_components_count_alike_whatever_their_unit():
    reference, features = gaussian(400, np.zeros(4), 1.0, 3), gaussian(400, np.ones(4), 1.0, 4)
    units = np.array([1, 1000, 0.001, 1])
    scaled = frechet_distance(features * units, reference * units).value
    assert scaled == pytest.approx(frechet_distance(features, reference).value, rel=1e-6)


def test_few_clips_are_warned_of_and_one_is_refused():
    few, many = gaussian(255, np.zeros(2), 1.0, 5), gaussian(256, np.zeros(2), 1.0, 6)
    assert "255 clips" in frechet_distance(few, many).warnings[0]
    assert frechet_distance(many, many).warnings == ()
    with pytest.raises(ConfigError, match="2 clips"):
        frechet_distance(few[:1], many)
    with pytest.raises(ConfigError, match=r"expected \[n 2\]"):
        frechet_distance(few[:, :1], many)


def test_diversity_is_zero_for_copies_and_grows():
    reference = gaussian(100, np.zeros(5), 1.0, 7)
    copies = np.repeat(reference[:1], 4, axis=0)
    assert diversity(copies, reference).value == 0
    near, far = diversity(reference * 0.1, reference), diversity(reference, reference)
    assert far.value == pytest.approx(10 * near.value)
    assert far.value == pytest.approx(np.sqrt(2), rel=0.1)


def test_diversity_is_the_mean_over_the_prompts_that_have_several_clips():
    features = gaussian(7, np.zeros(5), 1.0, 8)
    prompts = ["a", "b", "a", "c", "b", "a", "d"]
    found = prompt_diversity(features, prompts)
    assert found is not None
    score, num_prompts = found
    expected = [diversity(features[[0, 2, 5]], features), diversity(features[[1, 4]], features)]
    assert score.value == pytest.approx(np.mean([each.value for each in expected]))
    assert (score.num_clips, num_prompts) == (5, 2)
    assert prompt_diversity(features[:3], ["a", "b", "c"]) is None


def test_features_tell_directions_of_motion_and_colours_apart():
    evaluator = Evaluator([], feature=True)

    def feature(motion, colour, seed):
        rng = np.random.default_rng(seed)
        while True:
            scene = sample_scene(rng, WORLDS["narrow"], "all")
            spec = scene.objects[0]
            if (spec.motion, spec.colour) == (motion, colour):
                return evaluator.evaluate(render(scene, 6), 12).feature

    left = [feature("left", "red", seed) for seed in range(3)]
    right = [feature("right", "red", seed) for seed in range(3)]
    flow = slice(0, 32)

    def distances(one, others):
        return [float(np.linalg.norm((one - other)[flow])) for other in others]

    for one in left:
        assert min(distances(one, right)) > max(distances(one, left))
    assert all(vector is not None and np.isfinite(vector).all() for vector in left)
