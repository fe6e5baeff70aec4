"""What a text names is found with its place, the longest phrase first."""

import numpy as np

from videogen.shapes.captions import caption, parse_caption
from videogen.shapes.mentions import PHRASES, Mention, mentions, split_words
from videogen.shapes.scene import sample_scene
from videogen.shapes.vocabulary import EVERYTHING


def test_mentions_say_what_where_and_how() -> None:
    words = split_words("A red plus sign, gliding to the left, over a blue gradient!")
    assert list(mentions(words)) == [
        Mention(1, 2, "colour", "red", 0),
        Mention(2, 4, "shape", "cross", 1),
        Mention(4, 8, "motion", "left", 9),
        Mention(10, 12, "background", "blue gradient", 0),
    ]


def test_a_verb_is_another_kind_of_the_same_attribute() -> None:
    [mention] = mentions(["bounces", "up", "and", "down"])
    assert (mention.kind, mention.attribute, mention.name) == ("motion verb", "motion", "bounce")
    assert (mention.first, mention.end) == (0, 4)


def test_a_phrase_cut_off_at_the_end_is_the_shorter_one() -> None:
    assert [m.name for m in mentions(split_words("it is bouncing up"))] == ["bounce"]
    assert list(mentions([])) == list(mentions(["stormy", "sea"])) == []


def test_every_place_holds_the_phrase_it_is_said_to_hold() -> None:
    rng = np.random.default_rng(5)
    for _ in range(300):
        text = caption(sample_scene(rng, EVERYTHING, "all"), rng)
        words = split_words(text)
        found = list(mentions(words))
        for each in found:
            phrase = PHRASES[each.kind][each.name][each.form]
            assert phrase == tuple(words[each.first : each.end])
        read = parse_caption(text)
        assert {m.attribute for m in found} == {name for name, said in read.items() if said}
