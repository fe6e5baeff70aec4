"""What is known of a pipeline, or of the stages of a cascade, before weights are read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from videogen.config import shown
from videogen.defaults import sampling_defaults
from videogen.errors import ConfigError, InvalidRequestError
from videogen.foreign.address import absolute, stage_folders
from videogen.foreign.defaults import SAMPLERS, own_size, recommended, scheduler_name
from videogen.foreign.folder import PipelineFolder, read_folder
from videogen.foreign.library import pipeline_class
from videogen.foreign.parameters import Parameters
from videogen.requests import ClipRequest

SIDE_MULTIPLE = 8
"""What the sides of pictures between stages are multiples of."""
_ALWAYS = {"id", "prompt", "seed", "fps", "metadata", "prompts", "image_sha256", "video_sha256"}
_NOT_SAID = {"extension": ("auto", "none")}
"""Values that ask for what happens anyway."""
_FROM_PICTURES = ("ImageToVideo", "Img2Img", "Inpaint", "Upscale", "SuperResolution", "Edit")
"""Parts of the names of pipelines that go on from a picture."""


@dataclass(frozen=True)
class FrameSizes:
    """Frames are their own latents: what a pipeline makes inside is its own affair."""

    latent_channels: int = 3
    time_factor: int = 1
    space_factor: int = 1
    decoder_past: int = 0

    def latent_frames(self, num_frames: int) -> int:
        return num_frames

    def frames(self, latent_frames: int) -> int:
        return latent_frames


@dataclass(frozen=True)
class Stage:
    """One pipeline of a cascade, most often the only one.

    Attributes:
        size: height and width in pixels that it makes by itself.
    """

    folder: PipelineFolder
    parameters: Parameters
    size: dict[str, int]


@dataclass(frozen=True)
class ForeignSpec:
    """The description of `diffusers:…`; see `read_foreign_spec`."""

    address: str
    stages: tuple[Stage, ...]
    sampling: dict[str, Any]
    """Recommended sampling defaults, of the first stage but for the size, which is the last's."""
    vae: FrameSizes = FrameSizes()
    dit: None = None

    @property
    def name(self) -> str:
        return "+".join(stage.folder.path.name for stage in self.stages)

    @property
    def digest(self) -> str:
        """sha256 over the sha256 of every file of every stage; reads them all, once."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        said = [[stage.folder.pipeline, stage.folder.digests()] for stage in self.stages]
        text = json.dumps(["diffusers", said], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def pipelines(self) -> str:
        """The classes of its stages."""
        return " + ".join(stage.folder.pipeline for stage in self.stages)

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The value of every sampling field that nobody has set."""
        return sampling_defaults(self.name, self.sampling).model_dump()

    def latent_shape(self, num_frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Shape `c t h w` of a clip."""
        return 3, num_frames, height, width

    def check_size(self, num_frames: int, height: int, width: int) -> None:
        """Any size: which ones a pipeline can make, it says itself when it is asked to."""

    def check_request(self, request: ClipRequest) -> None:
        """Raise unless the pipeline takes all that is set in a request.

        What has its default value is not set, and so is simply not passed.

        Raises:
            InvalidRequestError: names the field and why.
        """
        first, last = self.stages[0].parameters.names, self.stages[-1].parameters.names
        if request.prompts:
            raise self._unused("prompts", f"{len(request.prompts)} of them", "a single prompt")
        for name in sorted(ClipRequest.model_fields.keys() - _ALWAYS):
            value = getattr(request, name)
            taken = last if name in ("height", "width") else first
            if name in taken or not self.is_said(name, value) or value in _NOT_SAID.get(name, ()):
                continue
            default = self.defaults.get(name, ClipRequest.model_fields[name].default)
            got = "one" if name == "negative_prompt" else shown(value)  # rows' texts differ
            raise self._unused(name, got, "none" if default in (None, "") else shown(default))
        if "image" in first and request.image is None and self.needs_image:
            raise InvalidRequestError(
                f"image: missing, expected the picture to start with, because {self.pipelines} "
                "makes clips from one. Fix: name one, or use a text-to-video pipeline."
            )
        self.stage_sizes(request)

    def is_said(self, name: str, value: object) -> bool:
        """Whether a field has another value than where nothing is said."""
        return value != self.defaults.get(name, ClipRequest.model_fields[name].default)

    @property
    def needs_image(self) -> bool:
        """Whether the first pipeline makes clips from pictures alone."""
        return any(kind in self.stages[0].folder.pipeline for kind in _FROM_PICTURES)

    def stage_sizes(self, request: ClipRequest) -> list[dict[str, int]]:
        """Height and width of what each stage makes, in the proportions that they were trained in.

        Raises:
            InvalidRequestError: an earlier stage would make pictures of odd sizes.
        """
        asked = {"height": request.height, "width": request.width}
        final = self.stages[-1].size
        sizes = []
        for stage in self.stages[:-1]:
            sizes.append({name: asked[name] * stage.size[name] // final[name] for name in asked})
            for name, side in sizes[-1].items():
                multiple = SIDE_MULTIPLE * final[name] // stage.size[name]
                if asked != final and asked[name] % multiple:
                    below = max(multiple, asked[name] - asked[name] % multiple)
                    raise InvalidRequestError(
                        f"{name}: got {asked[name]}, expected a multiple of {multiple} ({below}, "
                        f"{below + multiple}), because the first stage makes {side} of them."
                    )
        return [*sizes, asked]

    def described(self) -> list[str]:
        """A line for each stage: what it is, where, and what it makes by itself."""
        lines = []
        for stage in self.stages:
            folder, size = stage.folder, stage.size
            files = folder.weight_files()
            held = sum(path.stat().st_size for path in files) / 1e9
            lines.append(
                f"{folder.pipeline} in {folder.path}: {', '.join(folder.components)}; "
                f"{len(files)} weight files, {held:.3g} GB; makes "
                f"{size['width']}×{size['height']} by itself; "
                f"takes {', '.join(stage.parameters.names)}"
            )
        return lines

    def warnings(self) -> list[str]:
        """What a person should know of every clip."""
        own = scheduler_name(self.stages[0].folder)
        return [] if own in SAMPLERS else [f"sampler: the pipeline's own, {own}"]

    def _unused(self, name: str, got: str, expected: str) -> InvalidRequestError:
        return InvalidRequestError(
            f"{name}: got {got}, expected {expected}, because {self.pipelines} does not use it. "
            f"Fix: leave {name} out."
        )


def read_foreign_spec(name: str) -> ForeignSpec:
    """Read the folders that `diffusers:…` names and the calls of their pipelines.

    Raises:
        WeightsError: a folder or a part of it is missing, damaged, or holds pickles only.
        ConfigError: a pipeline is not one of diffusers, or rows cannot say what it needs.
        MissingDependencyError: diffusers is not installed.
    """
    stages: list[Stage] = []
    for path in stage_folders(name):
        folder = read_folder(path)
        parameters = Parameters.of(pipeline_class(folder).__call__)
        _check_parameters(folder, parameters, is_first=not stages)
        size = own_size(folder, parameters, stages[-1].size if stages else None)
        stages.append(Stage(folder, parameters, size))
    first = stages[0]
    sampling = recommended(first.folder, first.parameters, stages[-1].size)
    if len(stages) > 1 and sampling["num_frames"] != 1:
        raise ConfigError(
            f"model: got {len(stages)} stages of which the first, {first.folder.pipeline}, makes "
            "videos, expected pictures. Fix: name one pipeline."
        )
    return ForeignSpec(absolute(name), tuple(stages), sampling)


def _check_parameters(folder: PipelineFolder, parameters: Parameters, *, is_first: bool) -> None:
    if parameters.unknown or "prompt" not in parameters.names:
        missing = ", ".join(parameters.unknown) or "no prompt"
        raise ConfigError(
            f"{folder.path}: {folder.pipeline}: its call wants {missing}, expected one that makes "
            "pictures or videos from a prompt. Fix: use such a pipeline."
        )
    if not is_first and "image" not in parameters.names:
        raise ConfigError(
            f"{folder.path}: {folder.pipeline}: takes no image, expected a pipeline that goes on "
            "from the pictures of the stage before. Fix: name one pipeline, or a super-resolution "
            "pipeline second."
        )
