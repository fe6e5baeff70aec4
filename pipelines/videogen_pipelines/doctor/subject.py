"""`Subject`: what `videogen doctor` was asked to look at beside the machine itself."""

from __future__ import annotations

from dataclasses import dataclass

from videogen_pipelines.config import RunConfig


@dataclass(frozen=True, slots=True)
class Subject:
    """The run that is to work here.

    Attributes:
        config: with the model's name in it; says which codec, kernel and device must work.
        out: where clips would go; None if storage is not to be looked at.
        address: a Ray cluster or a job server; None if there is none to look at.
    """

    config: RunConfig
    out: str | None = None
    address: str | None = None

    @property
    def attention(self) -> str:
        """The attention backend that runs would use."""
        return self.config.model.attention or "sdpa"
