"""What a model that was fine-tuned on clips is best asked for: what most of them are."""

from __future__ import annotations

from collections import Counter
from typing import Any

from videogen.models.protocol import ClipSpec
from videogen.training.encoded_clips import EncodedClips

MAX_FPS = 240
"""The most that a clip can be asked for with."""
_SAID = {
    "num_frames": "{} frames",
    "height": "{} px high",
    "width": "{} px wide",
    "fps": "{:g} fps",
}


def most_frequent(clips: EncodedClips, spec: ClipSpec) -> dict[str, Any]:
    """Sampling settings: size, length and, where it is known, fps of most clips.

    Pictures count only where there is nothing else.
    """
    frames = {shape: [clips.clips[i].fps for i in found] for shape, found in clips.buckets.items()}
    moving = {shape: rates for shape, rates in frames.items() if shape[1] > 1}
    (_, t, h, w), rates = max((moving or frames).items(), key=lambda each: len(each[1]))
    side = spec.vae.space_factor
    found = {"num_frames": spec.vae.frames(t), "height": h * side, "width": w * side}
    known = Counter(round(rate, 3) for rate in rates if 0 < rate <= MAX_FPS)
    return found | ({"fps": known.most_common(1)[0][0]} if known and t > 1 else {})


def differing(found: dict[str, Any], spec: ClipSpec) -> str:
    """What of the clips is not as the model that is trained recommends; "" where nothing is."""
    usual = {name: spec.sampling.get(name) for name in found}
    other = [name for name, value in found.items() if usual[name] != value]
    if not other:
        return ""
    model = ", ".join(_SAID[name].format(usual[name]) for name in other if usual[name] is not None)
    clips = ", ".join(_SAID[name].format(found[name]) for name in other)
    return f"most clips have {clips}; {spec.name} recommends {model or 'nothing'}"
