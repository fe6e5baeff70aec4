"""A text-video encoder small enough to train in seconds."""

from __future__ import annotations

from videogen.models.config import TextConfig
from videogen.models.text_video_spec import TextVideoConfig

TINY_TEXT_VIDEO = TextVideoConfig(
    num_frames=3,
    size=16,
    early_width=8,
    late_width=8,
    width=16,
    depth=1,
    num_heads=2,
    embedding=16,
    text=TextConfig(width=16, depth=1, num_heads=2, max_tokens=40),
)
