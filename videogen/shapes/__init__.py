"""A small world of moving shapes: captioned clips to train on, and a judge that reads them back."""

from videogen.shapes.captions import WORDS, canonical_caption, caption, parse_caption
from videogen.shapes.mentions import split_words
from videogen.shapes.motion import StartsOver
from videogen.shapes.render import render, render_background
from videogen.shapes.scene import (
    ObjectSpec,
    Scene,
    held_out_combinations,
    is_held_out,
    sample_scene,
)
from videogen.shapes.vocabulary import (
    BACKGROUNDS,
    CAMERAS,
    COLOURS,
    EVERYTHING,
    MOTIONS,
    SHAPES,
    WORLDS,
    World,
)

__all__ = [
    "BACKGROUNDS",
    "CAMERAS",
    "COLOURS",
    "EVERYTHING",
    "MOTIONS",
    "SHAPES",
    "WORDS",
    "WORLDS",
    "ObjectSpec",
    "Scene",
    "StartsOver",
    "World",
    "canonical_caption",
    "caption",
    "held_out_combinations",
    "is_held_out",
    "parse_caption",
    "render",
    "render_background",
    "sample_scene",
    "split_words",
]
