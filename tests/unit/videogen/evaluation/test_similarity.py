"""Likeness of clip and prompt: what is compared with what, and when there is no number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from videogen.errors import WeightsError
from videogen.evaluation import Evaluator
from videogen.evaluation.backends.text_video import TextVideoReader, shipped_reader
from videogen.evaluation.metrics.similarity import BACKEND
from videogen.evaluation.swaps import swapped
from videogen.models.text_video_spec import SHIPPED
from videogen.shapes import WORDS, ObjectSpec, Scene, render

PROMPT = "a red circle moving right on a navy background"
BALL = ObjectSpec("red", "circle", "right", 0.25, 0.5, 0.2, speed=0.03)
FRAMES = render(Scene((BALL,), "navy"), 17)
NAMES = ("text.similarity", "text.rank")
EVALUATOR = Evaluator(NAMES)


def test_one_thing_is_exchanged_at_a_time() -> None:
    nearly = swapped("A red ball, gliding to the left on a dark blue background.", WORDS)
    assert set(nearly) == {"colour", "shape", "motion", "background"}
    assert "a green ball gliding to the left on a dark blue background" in nearly["colour"]
    assert "a red square gliding to the left on a dark blue background" in nearly["shape"]
    assert "a red ball gliding to the right on a dark blue background" in nearly["motion"]
    assert "a red ball gliding to the left on a teal background" in nearly["background"]
    every = [text for texts in nearly.values() for text in texts]
    assert len(set(every)) == len(every)
    assert not [text for text in every if "disc" in text], "a synonym says the same"


def test_two_objects_also_change_what_they_have() -> None:
    nearly = swapped("a red circle moves left and a blue square moves up", WORDS)
    assert set(nearly["exchange"]) == {
        "a blue circle moves left and a red square moves up",
        "a red square moves left and a blue circle moves up",
        "a red circle moves up and a blue square moves left",
    }
    assert "a red circle moves right and a blue square moves up" in nearly["motion"]
    assert not swapped("a stormy sea", WORDS)


def test_prompts_that_look_the_same_or_hold_new_words_are_left_out() -> None:
    still = swapped("a ring staying still, camera panning left", WORDS)
    assert "a ring spinning camera panning left" not in still["motion"]
    assert "a ring staying still camera zooming in" in still["camera"]
    assert "a square spinning" in swapped("a square staying still", WORDS)["motion"]
    few = swapped("a red ball", {"red", "green", "ball"})
    assert few == {"colour": ["a green ball"]}


@pytest.mark.parametrize(
    "prompt, known",
    [
        (PROMPT, True),
        ("The RED circle: it is moving right!", True),
        ("a red circle and a dog", False),
        ("a stormy sea", False),
        ("there is", False),
        ("a red circle and " * 12, False),
        ("", False),
        (None, False),
    ],
)
def test_one_unknown_word_is_too_many(prompt: str | None, known: bool) -> None:
    assert shipped_reader().knows(prompt) is known
    metrics = EVALUATOR.evaluate(FRAMES, 12, prompt)
    assert set(metrics.results) == (set(NAMES) if known else set())
    if not known:
        assert "words the text-video encoder knows" in metrics.skipped["text.similarity"]


def test_the_right_prompt_is_nearer_than_a_wrong_one() -> None:
    right = EVALUATOR.evaluate(FRAMES, 12, PROMPT)
    for word, other in (("red", "green"), ("red", "yellow"), ("navy", "maroon")):
        wrong = EVALUATOR.evaluate(FRAMES, 12, PROMPT.replace(word, other))
        assert wrong["text.similarity"].value < right["text.similarity"].value
        assert wrong["text.rank"].value < right["text.rank"].value
    details = right["text.rank"].details
    assert set(details) == {"colour", "shape", "motion", "background"}
    assert right["text.similarity"].details["weights_sha256"] == shipped_reader().sha256


def test_a_clip_played_backwards_is_further_from_its_prompt() -> None:
    right, backwards = (EVALUATOR.evaluate(f, 12, PROMPT) for f in (FRAMES, FRAMES[::-1]))
    assert backwards["text.similarity"].value < right["text.similarity"].value - 0.05


def test_long_clips_are_seen_in_stretches_and_portions_change_nothing() -> None:
    long = np.concatenate([FRAMES, FRAMES[::-1], FRAMES[:5]])
    whole = EVALUATOR.evaluate(long, 12, PROMPT)["text.similarity"]
    parts = EVALUATOR.evaluate(np.split(long, [3, 20]), 12, PROMPT)["text.similarity"]
    assert parts.value == whole.value
    assert whole.curve is not None
    first, second = (EVALUATOR.evaluate(f, 12, PROMPT) for f in (FRAMES, FRAMES[::-1]))
    numbers = [m["text.similarity"].value for m in (first, second)]
    assert whole.value == pytest.approx(np.mean(numbers), abs=1e-5)
    assert whole.curve[[0, 16, 17, 33]] == pytest.approx(np.repeat(numbers, 2), abs=1e-5)
    assert np.isnan(whole.curve[34:]).all(), "the rest is too short to say what moves"
    assert whole.worst_frame in (0, 17)


@pytest.mark.parametrize("shape", [(1, 64, 64, 3), (3, 40, 90, 3), (30, 200, 120, 3)])
def test_clips_of_any_length_and_size_have_a_number(shape: tuple[int, ...]) -> None:
    metrics = EVALUATOR.evaluate(np.full(shape, 30, np.uint8), 24, PROMPT)
    assert -1 <= metrics["text.similarity"].value <= 1


def test_another_encoder_may_be_given(tmp_path: Path) -> None:
    own = Evaluator(NAMES, weights={"text-video": SHIPPED})
    assert isinstance(own.encoders["text-video"], TextVideoReader)
    same = EVALUATOR.evaluate(FRAMES, 12, PROMPT)
    assert own.evaluate(FRAMES, 12, PROMPT).values() == same.values()
    with pytest.raises(WeightsError, match=r"text_video\.yaml"):
        Evaluator(NAMES, weights={"text-video": tmp_path})


def test_other_weights_have_another_name() -> None:
    """New weights give other numbers: raise the number at the end of BACKEND with them."""
    assert (BACKEND, shipped_reader().sha256[:12]) == ("videogen-text-video-2", "44360b830319")
