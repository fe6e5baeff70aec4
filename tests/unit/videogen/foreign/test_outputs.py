"""What pipelines return becomes bytes, whatever its form."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from videogen.errors import ConfigError, NonFiniteError, RejectedError
from videogen.foreign.outputs import frames_of

CLIP = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
FLOATS = CLIP.astype(np.float32) / 255
TENSOR = torch.from_numpy(FLOATS).permute(0, 3, 1, 2)
PICTURES = [Image.fromarray(frame) for frame in CLIP]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ({"frames": FLOATS[None]}, CLIP),
        ({"frames": [FLOATS]}, CLIP),
        ({"frames": [PICTURES]}, CLIP),
        ({"frames": [list(FLOATS)]}, CLIP),
        ({"frames": TENSOR[None]}, CLIP),
        ({"frames": [list(TENSOR)]}, CLIP),
        ({"frames": CLIP[None]}, CLIP),
        ({"images": FLOATS[:1]}, CLIP[:1]),
        ({"images": PICTURES[:1]}, CLIP[:1]),
        ({"images": TENSOR[:1]}, CLIP[:1]),
        ({"images": [FLOATS[0]], "nsfw_content_detected": [False]}, CLIP[:1]),
        ({"images": PICTURES[:1], "nsfw_detected": [False], "watermark_detected": None}, CLIP[:1]),
    ],
)
def test_every_form_gives_the_same_bytes(output: dict[str, Any], expected: np.ndarray):
    frames = frames_of(SimpleNamespace(**output), "SomePipeline")
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(frames, expected)


def test_values_are_rounded_and_clipped():
    values = np.array([-0.5, 0.4 / 255, 0.6 / 255, 1.5], np.float32)
    frame = np.broadcast_to(values[:, None, None], (4, 1, 3))
    frames = frames_of(SimpleNamespace(images=frame[None]), "SomePipeline")
    assert frames[0, :, 0, 0].tolist() == [0, 0, 1, 255]


def test_grey_and_transparent_pictures_get_three_channels():
    grey = frames_of(SimpleNamespace(images=FLOATS[:1, ..., :1]), "SomePipeline")
    np.testing.assert_array_equal(grey, CLIP[:1, ..., :1].repeat(3, -1))
    clear = np.concatenate([CLIP, CLIP[..., :1]], -1)
    np.testing.assert_array_equal(
        frames_of(SimpleNamespace(frames=clear[None]), "SomePipeline"), CLIP
    )


@pytest.mark.parametrize("said", ["nsfw_content_detected", "nsfw_detected", "watermark_detected"])
def test_what_a_safety_checker_has_blackened_is_rejected(said: str):
    black = SimpleNamespace(images=FLOATS[:1], **{said: [True]})
    with pytest.raises(RejectedError, match="safety checker"):
        frames_of(black, "SomePipeline")


def test_what_is_no_good_clip_is_an_error():
    broken = FLOATS.copy()
    broken[1, 0, 0, 0] = np.nan
    with pytest.raises(NonFiniteError, match="frame 1"):
        frames_of(SimpleNamespace(frames=broken[None]), "SomePipeline")
    with pytest.raises(ConfigError, match="makes pictures or videos"):
        frames_of(SimpleNamespace(audios=[1.0]), "SomePipeline")
    with pytest.raises(ConfigError, match="frames of shape"):
        frames_of(SimpleNamespace(frames=np.stack([FLOATS, FLOATS])), "SomePipeline")
