"""`ClipRequest`, one clip asked for, and `clip_id`, the name of its exact pixels."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from videogen.errors import InvalidRequestError
from videogen.seeds import MAX_SEED

Sampler = Literal["ddpm", "ddim", "euler", "heun", "dpmpp_2m", "unipc"]
SAMPLERS: tuple[str, ...] = ("ddpm", "ddim", "euler", "heun", "dpmpp_2m", "unipc")
MAX_PROMPT_CHARACTERS = 4096
MAX_FRAMES = 1_000_000
MAX_SIDE_PX = 8192
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def check_id(value: str) -> str:
    """Return `value` if it is safe as a file name everywhere.

    Raises:
        InvalidRequestError: it is empty, too long, or holds anything but letters, digits, `._-`.
    """
    if not _ID.fullmatch(value):
        raise InvalidRequestError(
            f"id: got {value!r}, expected 1 to 128 letters, digits, '.', '_' or '-', starting with "
            "a letter or digit, because it becomes a file name. Fix: rename it, or leave id out."
        )
    return value


class _Sampling(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ClipRequest(_Sampling):
    """One clip asked for, every field resolved.

    Sizes are in pixels, `fps` in frames per second, `guidance_interval` in fractions of the
    denoising steps, `eta` in [0, 1] (0 is deterministic DDIM).
    """

    id: str
    prompt: str = Field(max_length=MAX_PROMPT_CHARACTERS)
    negative_prompt: str = Field(default="", max_length=MAX_PROMPT_CHARACTERS)
    seed: int = Field(ge=0, le=MAX_SEED)
    num_frames: int = Field(ge=1, le=MAX_FRAMES)
    height: int = Field(ge=1, le=MAX_SIDE_PX)
    width: int = Field(ge=1, le=MAX_SIDE_PX)
    fps: float = Field(gt=0, le=240)
    num_inference_steps: int = Field(ge=1, le=1000)
    guidance_scale: float = Field(ge=0, le=100)
    guidance_rescale: float = Field(default=0.0, ge=0, le=1)
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    sampler: Sampler
    flow_shift: float = Field(default=1.0, gt=0, le=100)
    eta: float = Field(default=0.0, ge=0, le=1)
    metadata: dict[str, Any] = Field(default_factory=dict)

    @field_validator("id")
    @classmethod
    def _id_is_a_file_name(cls, value: str) -> str:
        return check_id(value)

    @field_validator("prompt", "negative_prompt")
    @classmethod
    def _is_text(cls, value: str) -> str:
        if any(0xD800 <= ord(char) <= 0xDFFF for char in value) or "\x00" in value:
            raise ValueError("holds characters that are no text (lone surrogates or NUL)")
        return value

    @field_validator("guidance_interval")
    @classmethod
    def _interval_is_ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        return check_interval(value)


class SamplingDefaults(_Sampling):
    """Defaults for every sampling field of `ClipRequest`; None means "not said here"."""

    negative_prompt: str | None = Field(default=None, max_length=MAX_PROMPT_CHARACTERS)
    num_frames: int | None = Field(default=None, ge=1, le=MAX_FRAMES)
    height: int | None = Field(default=None, ge=1, le=MAX_SIDE_PX)
    width: int | None = Field(default=None, ge=1, le=MAX_SIDE_PX)
    fps: float | None = Field(default=None, gt=0, le=240)
    num_inference_steps: int | None = Field(default=None, ge=1, le=1000)
    guidance_scale: float | None = Field(default=None, ge=0, le=100)
    guidance_rescale: float | None = Field(default=None, ge=0, le=1)
    guidance_interval: tuple[float, float] | None = None
    sampler: Sampler | None = None
    flow_shift: float | None = Field(default=None, gt=0, le=100)
    eta: float | None = Field(default=None, ge=0, le=1)

    @field_validator("guidance_interval")
    @classmethod
    def _interval_is_ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        return None if value is None else check_interval(value)

    def merged(self, *layers: SamplingDefaults) -> SamplingDefaults:
        """A copy in which what later layers say wins over what earlier ones say."""
        said: dict[str, Any] = self.model_dump(exclude_none=True)
        for layer in layers:
            said.update(layer.model_dump(exclude_none=True))
        return SamplingDefaults(**said)


def check_interval(value: tuple[float, float]) -> tuple[float, float]:
    """Return `value` if it is (low, high) with 0 <= low <= high <= 1.

    Raises:
        ValueError: it is not.
    """
    low, high = value
    if not 0 <= low <= high <= 1:
        raise ValueError(f"got ({low}, {high}), expected 0 <= low <= high <= 1")
    return value


def clip_id(request: ClipRequest, model_digest: str, sampler_version: str) -> str:
    """Name the exact pixels of a clip: equal ids mean equal pixels on equal hardware.

    Returns:
        32 hex digits: blake2b-128 of the canonical JSON of the resolved request without its
        `metadata` (which changes no pixel), the model digest and the sampler version.
    """
    content = {
        "request": request.model_dump(mode="json", exclude={"metadata"}),
        "model": model_digest,
        "sampler_version": sampler_version,
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
