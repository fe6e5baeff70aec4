"""videogen: prompts in, clips out. A pure torch library; the batch engine is built on top of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from videogen.generator import VideoGenerator

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(model: str = "default", **options: Any) -> VideoGenerator:
    """Load a model once and return the callable that turns prompts into clips.

    Args:
        model: a preset name such as "default", or a model folder.
        options: `device`, `dtype` and `attention`, see `videogen.loading.load_generator`.
    """
    from videogen.loading import load_generator

    return load_generator(model, **options)
