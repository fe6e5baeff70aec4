"""Which fields of a request the call of a pipeline takes, and what it calls them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

NAMES: dict[str, tuple[str, ...]] = {
    "prompt": ("prompt",),
    "negative_prompt": ("negative_prompt",),
    "num_frames": ("num_frames", "video_length"),
    "height": ("height",),
    "width": ("width",),
    "num_inference_steps": ("num_inference_steps",),
    "guidance_scale": ("guidance_scale",),
    "guidance_rescale": ("guidance_rescale",),
    "eta": ("eta",),
    "fps": ("frame_rate", "fps"),
    "image": ("image",),
}
"""Field of a request -> what pipelines call it."""
CALLBACKS = ("callback_on_step_end", "callback")


@dataclass(frozen=True)
class Parameters:
    """The call of a pipeline.

    Attributes:
        names: field of a request -> parameter, for those that it takes.
        defaults: field -> number that the call takes where nothing is said.
        callback: what is told of every step, if anything is.
        flags: other parameters that are set if they are there.
        unknown: parameters that must be given and that no field of a request stands for.
    """

    names: Mapping[str, str]
    defaults: Mapping[str, float]
    callback: str | None
    flags: frozenset[str]
    unknown: tuple[str, ...]

    @classmethod
    def of(cls, call: Callable[..., Any]) -> Parameters:
        """Read them from the signature of `__call__`."""
        found = dict(inspect.signature(call).parameters)
        found.pop("self", None)
        named = {k: p for k, p in found.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        names = {
            field: next(name for name in options if name in named)
            for field, options in NAMES.items()
            if not named.keys().isdisjoint(options)
        }
        if _is_idle_negative(named):
            names.pop("negative_prompt", None)
        return cls(
            names=names,
            defaults={
                field: named[name].default
                for field, name in names.items()
                if type(named[name].default) in (int, float)
            },
            callback=next((name for name in CALLBACKS if name in named), None),
            flags=frozenset(named) & {"generator", "output_type", "clean_caption"},
            unknown=tuple(
                name
                for name, parameter in named.items()
                if parameter.default is parameter.empty and name not in names.values()
            ),
        )


def _is_idle_negative(named: Mapping[str, inspect.Parameter]) -> bool:
    """Whether a negative prompt is taken and changes nothing, as guidance is distilled."""
    scale = named.get("true_cfg_scale")
    return scale is not None and type(scale.default) in (int, float) and scale.default <= 1
