"""What `pack` takes of videos, and how: small, picklable, and part of the record of a pack."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from videogen.errors import ConfigError
from videogen_pipelines.config import split_condition

Cuts = Literal["split", "keep"]
ACCEPT: Mapping[str, str] = {
    "motion.total": ">= 1",
    "motion.explained": ">= 0.2",
    "motion.freeze": "<= 0.5",
    "flicker.luma": "<= 6",
}
"""What clips must reach unless people say otherwise: they move, it is motion that changes them and
not the noise of an encoder, they seldom repeat a frame, and do not flicker."""
_CHOICES = {"cuts": ("split", "keep"), "captions": ("required", "optional")}
_SIGNS = (">=", "<=", ">", "<")
_AFTERWARDS = ("near", "shard_clips", "shard_bytes")
"""What matters once all videos have been looked at, and may change between invocations."""


@dataclass(frozen=True)
class PackSettings:
    """See the options of `videogen data pack`.

    Attributes:
        accept: metric -> condition that every clip must fulfil.
        cuts: what to do where scenes change; "keep" leaves videos whole.
        min_frames, max_frames: shorter scenes are dropped, longer ones divided.
        min_side_px: videos with a shorter side are dropped.
        captions: "required" drops videos without one.
        near: bits of 256 that two perceptual hashes may differ in; 0 finds equal files alone.
        size_px: shorter side that metrics are measured at.
        crf: of clips that are cut out of longer videos; whole MP4 files are kept as they are.
    """

    accept: Mapping[str, str] = field(default_factory=lambda: dict(ACCEPT))
    cuts: Cuts = "split"
    min_frames: int = 5
    max_frames: int = 257
    min_side_px: int = 32
    captions: Literal["required", "optional"] = "required"
    near: int = 16
    size_px: int = 128
    crf: int = 14
    shard_clips: int = 1000
    shard_bytes: int = 256 * 2**20

    def __post_init__(self) -> None:
        if not 1 <= self.min_frames <= self.max_frames:
            raise ConfigError(
                f"--min-frames: got {self.min_frames}, expected 1 to --max-frames "
                f"({self.max_frames})."
            )

    @classmethod
    def check(cls, **said: Any) -> PackSettings:
        """From what people said.

        Raises:
            ConfigError: a value is none that there is.
        """
        for name, known in _CHOICES.items():
            if said.get(name, known[0]) not in known:
                raise ConfigError(f"--{name}: got '{said[name]}', expected {' or '.join(known)}.")
        return cls(**said)

    def to_dict(self) -> dict[str, Any]:
        """What decides the records of videos, as JSON types."""
        return {name: value for name, value in asdict(self).items() if name not in _AFTERWARDS}

    @property
    def digest(self) -> str:
        """12 hex digits over what decides the records of videos."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def parse_accept(said: list[str]) -> dict[str, str]:
    """`["motion.total>=2"]` as conditions by metric, over the defaults; "none" drops those.

    Raises:
        ConfigError: one is no condition, or names no metric.
    """
    from videogen.evaluation import METRICS

    found = {} if "none" in said else dict(ACCEPT)
    for text in said:
        if text == "none":
            continue
        sign = next((sign for sign in _SIGNS if sign in text), "")
        name, _, limit = text.partition(sign) if sign else (text, "", "")
        name, condition = name.strip(), f"{sign} {limit.strip()}"
        try:
            split_condition(condition)
        except ValueError:
            raise ConfigError(
                f"--accept: got '{text}', expected a condition such as 'motion.total>=1'."
            ) from None
        found[METRICS[name].name] = condition  # an unknown one is named
    return found
