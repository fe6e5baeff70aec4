"""What a run has to do, counted before anything is done. Pure: no files, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from videogen.clip_ids import clip_id
from videogen.requests import ClipRequest, Extension
from videogen_cluster.failures import ErrorClass
from videogen_pipelines.manifest import InvalidRow


@dataclass(frozen=True, slots=True)
class ClipShape:
    """What decides how long a clip takes; `evaluations` of the model, guidance counted in."""

    num_frames: int
    height: int
    width: int
    evaluations: int
    is_guided: bool = True
    extension: Extension = "auto"
    chunk_frames: int | None = None
    context_frames: int | None = None
    async_steps: int = 0
    has_start: bool = False
    loop: bool = False

    @classmethod
    def of(cls, request: ClipRequest) -> ClipShape:
        per_step = 2 if request.sampler == "heun" else 1
        is_guided = request.guidance_scale != 1
        return cls(
            request.num_frames,
            request.height,
            request.width,
            request.num_inference_steps * per_step * (1 + is_guided),
            is_guided,
            request.extension,
            request.chunk_frames,
            request.context_frames,
            request.async_steps,
            request.image is not None or request.video is not None,
            request.loop,
        )

    @property
    def num_steps(self) -> int:
        """Evaluations of each half of guidance."""
        return max(1, self.evaluations // (1 + self.is_guided))

    @property
    def num_pixels(self) -> int:
        return self.num_frames * self.height * self.width


@dataclass(frozen=True, slots=True)
class PlannedClip:
    """A request with the name of its pixels, and whether it is made already."""

    request: ClipRequest
    clip_id: str
    done: bool

    def payload(self) -> dict[str, Any]:
        """The item that a rank gets."""
        return {"request": self.request.model_dump(mode="json"), "clip_id": self.clip_id}


@dataclass(slots=True)
class Plan:
    """Counts over all rows; `shapes` counts the clips that are still to be made by their shape.

    `held` ones are not done either, but are not to be made now; `held_by_class` counts those of
    them that failed before, by the class of that failure.
    """

    done: int = 0
    invalid: int = 0
    held: int = 0
    held_by_class: Counter[str] = field(default_factory=Counter)
    shapes: Counter[ClipShape] = field(default_factory=Counter)

    @property
    def to_do(self) -> int:
        return self.shapes.total()

    @property
    def total(self) -> int:
        return self.done + self.invalid + self.held + self.to_do

    @property
    def failed(self) -> int:
        """Rows that are failures before anything is made."""
        return self.invalid + self.held_by_class.total()

    @property
    def failed_by_class(self) -> Counter[str]:
        """The same by class of errors, without classes of which there are none."""
        return self.held_by_class + Counter({str(ErrorClass.INVALID_REQUEST): self.invalid})

    def add(self, row: PlannedClip | InvalidRow) -> None:
        """Count one more row."""
        if isinstance(row, InvalidRow):
            self.invalid += 1
        elif row.done:
            self.done += 1
        else:
            self.shapes[ClipShape.of(row.request)] += 1


@dataclass(frozen=True, slots=True)
class Planner:
    """Compares requests with what is committed."""

    model_digest: str
    sampler_version: str
    committed: Mapping[str, str]

    def rows(
        self, requests: Iterable[ClipRequest | InvalidRow]
    ) -> Iterator[PlannedClip | InvalidRow]:
        """Each request with its clip id; done if the clip of that id is committed."""
        for request in requests:
            if isinstance(request, InvalidRow):
                yield request
                continue
            name = clip_id(request, self.model_digest, self.sampler_version)
            yield PlannedClip(request, name, self.committed.get(request.id) == name)
