"""What words of captions are to know of their objects."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from videogen.models.config import TextConfig
from videogen.models.text import WordEncoder
from videogen.shapes.captions import caption
from videogen.shapes.mentions import split_words
from videogen.training.clips import numbered_scene
from videogen.training.prompts import vocabulary_of
from videogen.training.scene_maps import NAMES
from videogen.training.word_meanings import word_errors, word_meanings

TWO = "a red square moving right and a blue ring spinning on a black background"


def known_by_token(text: str) -> dict[int, set[str]]:
    """Place of a token -> what it is to know."""
    told: dict[int, set[str]] = {}
    for _, token, name in word_meanings([text], num_tokens=48).tolist():
        told.setdefault(token, set()).add(NAMES[name])
    return told


def known(text: str) -> dict[str, set[str]]:
    """Word -> what it is to know, for texts that say each word once."""
    words = split_words(text)
    return {words[token - 1]: names for token, names in known_by_token(text).items()}


def test_every_word_of_an_object_knows_all_that_is_said_of_it() -> None:
    first, second = {"red", "square", "right"}, {"blue", "ring", "spin"}
    assert known(TWO) == {
        **dict.fromkeys(("red", "square", "moving", "right"), first),
        **dict.fromkeys(("blue", "ring", "spinning"), second),
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a red thing", {"red": {"red"}}),
        ("a square that is there and a ring", {"square": {"square"}, "ring": {"ring"}}),
        ("on a blue gradient", {}),
        ("a red zzz square moving right", {}),
        ("", {}),
    ],
)
def test_only_what_is_said_is_to_be_known(text: str, told: dict[str, set[str]]) -> None:
    assert known(text) == told


def test_captions_are_numbered_and_words_that_were_cut_off_are_left_out() -> None:
    rows = word_meanings(["a background", TWO, TWO], num_tokens=5)
    assert rows[:, 0].unique().tolist() == [1, 2]
    assert rows[:, 1].unique().tolist() == [2, 3, 4]


def test_objects_of_all_scenes_are_told_apart() -> None:
    for index in range(300):
        scene = numbered_scene(5, index, ("narrow", "wide", "pairs"))
        text = caption(scene, np.random.default_rng(index))
        objects = [{spec.colour, spec.shape, spec.motion} for spec in scene.objects]
        for names in known_by_token(text).values():
            assert any(names <= names_of for names_of in objects), text


def test_errors_are_of_each_kind_by_itself() -> None:
    meanings = word_meanings(["a red square"], num_tokens=48)
    logits = torch.zeros(1, 48, len(NAMES))
    even = word_errors(logits, meanings)
    assert sorted(set(even.tolist())) == pytest.approx([np.log(8), np.log(10)], rel=1e-5)
    logits[..., NAMES.index("spin")] = 50
    assert torch.equal(word_errors(logits, meanings), even)
    logits[..., NAMES.index("red")] = 50
    logits[..., NAMES.index("square")] = 50
    assert word_errors(logits, meanings).max() < 1e-6


def test_an_encoder_can_learn_them() -> None:
    torch.manual_seed(0)
    text = WordEncoder(TextConfig(width=32, depth=2, num_heads=2), vocabulary_of(("pairs",), 500))
    reader = torch.nn.Linear(32, len(NAMES))
    optimizer = torch.optim.AdamW([*text.parameters(), *reader.parameters()], lr=3e-3)
    captions = [
        caption(numbered_scene(1, i, ("pairs",)), np.random.default_rng(i)) for i in range(32)
    ]
    errors = []
    for _ in range(60):
        encoded = text.encode(captions).tokens
        loss = word_errors(reader(encoded), word_meanings(captions, encoded.shape[1])).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    assert errors[-1] < 0.3 * errors[0]


def test_what_the_first_object_leaves_out_is_not_taken_from_the_second() -> None:
    first, second = {"square"}, {"red", "ring", "up"}
    assert known("a square and a red ring moving up on a navy background") == {
        "square": first,
        **dict.fromkeys(("red", "ring", "moving", "up"), second),
    }
