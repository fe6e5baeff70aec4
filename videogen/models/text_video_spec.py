"""`text_video.yaml`: what a folder of a text-video encoder holds, read without torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from videogen.config import load_dataclass, load_yaml, to_plain
from videogen.errors import ConfigError
from videogen.models.config import TextConfig

SPEC_FILE = "text_video.yaml"
SHIPPED = Path(__file__).parent.parent / "assets" / "text-video"
"""The encoder in this package: of the worlds that the default model was trained on."""
PATCH_PX = 16
"""Pixels of a token, per side."""


@dataclass(frozen=True, kw_only=True)
class TextVideoConfig:
    """Sizes of both halves of a text-video encoder."""

    num_frames: int = 8
    """Frames that a clip is read at, evenly over its length."""
    size: int = 48
    """Side in pixels that frames are brought to."""
    early_width: int = 32
    """Channels at a quarter of the frame's side."""
    late_width: int = 72
    """Channels at an eighth of it."""
    width: int = 144
    """Of the tokens, one for each 16 x 16 pixels of a frame."""
    depth: int = 2
    num_heads: int = 6
    embedding: int = 128
    """Length of the vectors that clips and prompts become."""
    text: TextConfig = field(
        default_factory=lambda: TextConfig(width=112, depth=2, num_heads=4, max_tokens=48)
    )

    def __post_init__(self) -> None:
        if self.size % PATCH_PX or self.size < PATCH_PX:
            raise ConfigError(f"size: got {self.size}, expected a multiple of {PATCH_PX}.")
        if self.num_frames < 2:
            raise ConfigError(f"num_frames: got {self.num_frames}, expected 2 or more.")
        if self.width % self.num_heads:
            raise ConfigError(
                f"num_heads: got {self.num_heads}, expected a divisor of width ({self.width})."
            )
        if self.text.kind != "words":
            raise ConfigError(f"text.kind: got '{self.text.kind}', expected 'words'.")


@dataclass(frozen=True, kw_only=True)
class TextVideoSpec:
    """One encoder: its sizes, its words, and where it comes from."""

    schema: Literal[1] = 1
    name: str
    encoder: TextVideoConfig
    trained_on: dict[str, Any] = field(default_factory=dict)
    """Where its clips and captions came from, for people."""
    vocabulary: tuple[str, ...]
    """Words it knows, in the order of its embedding."""
    files: dict[str, str] = field(default_factory=dict)
    """sha256 of every weight file."""

    @property
    def digest(self) -> str:
        """sha256 of the whole description, which holds the sha256 of the weights."""
        text = json.dumps(to_plain(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def read_text_video_spec(folder: Path) -> TextVideoSpec:
    """Read and check the description of a folder.

    Raises:
        ConfigError: it is missing, or a field is unknown, missing or of the wrong type.
    """
    path = folder / SPEC_FILE
    return load_dataclass(TextVideoSpec, load_yaml(path), str(path))
