"""Runs the pipelines of a spec one after the other, each on the picture of the one before."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from videogen.errors import ConfigError, InvalidRequestError
from videogen.foreign.library import load_pipeline
from videogen.foreign.outputs import frames_of
from videogen.foreign.parameters import Parameters
from videogen.foreign.pulse import Pulse
from videogen.foreign.spec import ForeignSpec, Stage
from videogen.requests import ClipRequest

OnStep = Callable[[int, int], None]
_FACTORS = ("vae_scale_factor_temporal", "vae_temporal_compression_ratio")


class Cascade:
    """Loaded pipelines; most often one.

    Args:
        pipelines: as many as the spec has stages, on the device that they run on.
    """

    def __init__(self, spec: ForeignSpec, pipelines: list[Any], device: torch.device) -> None:
        self.spec = spec
        self.pipelines = pipelines
        self._device = device
        self._is_offloaded = False

    @classmethod
    def load(
        cls,
        spec: ForeignSpec,
        device: torch.device,
        dtype: torch.dtype,
        *,
        cpu_offload: bool = False,
        vae_tiling: bool = False,
    ) -> Cascade:
        """Load all stages; parts of the same files are loaded once.

        Args:
            cpu_offload: keep weights in the CPU's memory but for the part that is at work.
            vae_tiling: decode large pictures in tiles that overlap.

        Raises:
            WeightsError: a file is damaged or does not fit its configuration.
            ConfigError: an option does not go with the device or the pipeline.
        """
        if cpu_offload:
            _check_offload(device)
        loaded: dict[tuple[object, ...], Any] = {}
        pipelines: list[Any] = []
        for stage in spec.stages:
            keys = _component_keys(stage) if len(spec.stages) > 1 else {}
            given = {name: loaded[key] for name, key in keys.items() if key in loaded}
            for name in stage.folder.absent:
                # A later stage without a text encoder of its own uses the first one's.
                part = getattr(pipelines[0], name, None) if pipelines else None
                if part is not None and name.startswith(("text_encoder", "tokenizer")):
                    given[name] = part
            pipelines.append(load_pipeline(stage.folder, dtype, given))
            loaded |= {key: getattr(pipelines[-1], name) for name, key in keys.items()}
        cascade = cls(spec, pipelines, device)
        if vae_tiling:
            cascade._tile()
        if cpu_offload:
            cascade.offload()
        else:
            for pipeline in pipelines:
                pipeline.to(device)
        return cascade

    def offload(self) -> None:
        """Keep weights in the CPU's memory from now on, but for the part that is at work.

        Raises:
            ConfigError: the pipelines run on the CPU.
        """
        _check_offload(self._device)
        if not self._is_offloaded:
            for pipeline in self.pipelines:
                pipeline.enable_model_cpu_offload(device=self._device)
        self._is_offloaded = True

    def _tile(self) -> None:
        vaes: list[Any] = [getattr(pipeline, "vae", None) for pipeline in self.pipelines]
        tileable = [vae for vae in vaes if hasattr(vae, "enable_tiling")]
        if not tileable:
            raise ConfigError(
                f"model.vae_tiling: got true for {self.spec.pipelines}, expected a pipeline whose "
                "VAE can tile. Fix: leave it out."
            )
        for vae in tileable:
            vae.enable_tiling()

    def make(
        self, request: ClipRequest, on_step: OnStep | None = None, start: np.ndarray | None = None
    ) -> np.ndarray:
        """The frames of a request, uint8 `t h w c`.

        Args:
            on_step: told (steps done, steps) of all stages; what it raises ends the pipeline at
                its next step, where the pipeline tells of steps.
            start: frames that the clip starts with, uint8 `t h w c`; the last is the picture.

        Raises:
            InvalidRequestError: the pipeline refuses a value, or makes another size or fewer
                frames.
            NonFiniteError, RejectedError, ConfigError: see `frames_of`.
        """
        calls = self._calls(request)
        steps = [
            _num_steps(stage, call) for stage, call in zip(self.spec.stages, calls, strict=True)
        ]
        # One generator for all stages, on the CPU: the same numbers on any device.
        generator = torch.Generator("cpu").manual_seed(request.seed)
        frames = None if start is None else start[-1:]
        done = 0
        with (
            Pulse(on_step or _nothing, sum(steps)).beating() as pulse,
            torch.random.fork_rng(devices=[]),
        ):
            torch.manual_seed(request.seed)  # for what draws without being handed a generator
            for index, stage in enumerate(self.spec.stages):
                if frames is not None:
                    calls[index][stage.parameters.names["image"]] = _picture(frames[0])
                if "generator" in stage.parameters.flags:
                    calls[index]["generator"] = generator
                calls[index] |= _callback(stage.parameters, pulse, done, steps[index])
                frames = self._run(index, calls[index])
                done += steps[index]
        assert frames is not None
        return _fitting(frames, request, self.spec.pipelines)

    def _run(self, index: int, call: dict[str, Any]) -> np.ndarray:
        pipeline, name = self.pipelines[index], self.spec.stages[index].folder.pipeline
        try:
            with torch.no_grad():  # weights that come and go are no inference tensors
                output = pipeline(**call)
        except ValueError as error:
            if _is_refusal(error):
                raise InvalidRequestError(
                    f"{name}: refuses the row: {error} Fix: change the row."
                ) from error
            raise
        return frames_of(output, name)

    def _calls(self, request: ClipRequest) -> list[dict[str, Any]]:
        """What each pipeline is called with, but for what the stage before makes."""
        calls: list[dict[str, Any]] = []
        for index, size in enumerate(self.spec.stage_sizes(request)):
            stage = self.spec.stages[index]
            values = {**request.__dict__, **size}
            call = {
                parameter: values[field]
                for field, parameter in stage.parameters.names.items()
                if field != "image" and self._is_passed(index, field, values[field])
            }
            if "num_frames" in stage.parameters.names:
                name = stage.parameters.names["num_frames"]
                call[name] = _whole(request.num_frames, self.pipelines[index])
            if "output_type" in stage.parameters.flags:
                call["output_type"] = "np"
            if "clean_caption" in stage.parameters.flags and not _can_clean():
                call["clean_caption"] = False  # as the pipeline would, with a warning each time
            calls.append(call)
        return calls

    def _is_passed(self, index: int, field: str, value: object) -> bool:
        """Whether a field is said to a stage: sizes always, else what is set or its own default."""
        if field in ("prompt", "height", "width", "num_frames"):
            return True
        if field == "negative_prompt":
            return bool(value)
        is_own = index == 0 and field in self.spec.sampling
        return is_own or self.spec.is_said(field, value)


def _check_offload(device: torch.device) -> None:
    if device.type == "cpu":
        raise ConfigError(
            "model.cpu_offload: got true on the CPU, expected a GPU to keep memory free on. "
            "Fix: leave it out."
        )


def _component_keys(stage: Stage) -> dict[str, tuple[object, ...]]:
    """What tells whether two parts are the same, by name: class and content of all files."""
    digests: dict[str, list[tuple[str, str]]] = {name: [] for name in stage.folder.components}
    for path, digest in stage.folder.digests().items():
        name, _, rest = path.partition("/")
        if rest:
            digests[name].append((rest, digest))
    # Schedulers hold the state of a run, so each stage has its own.
    return {
        name: (part.library, part.kind, *digests[name])
        for name, part in stage.folder.components.items()
        if "scheduler" not in name
    }


def _num_steps(stage: Stage, call: dict[str, Any]) -> int:
    said = call.get("num_inference_steps", stage.parameters.defaults.get("num_inference_steps", 1))
    return max(1, int(said))


def _whole(num_frames: int, pipeline: Any) -> int:
    """At least so many frames, such that they fill the latent frames of a pipeline."""
    for name in _FACTORS:
        factor = getattr(pipeline, name, None)
        if isinstance(factor, int | float) and factor > 1:
            return -(-(num_frames - 1) // int(factor)) * int(factor) + 1
    return num_frames


def _callback(parameters: Parameters, pulse: Pulse, before: int, steps: int) -> dict[str, Any]:
    """What tells of the steps of a stage, as its call wants it."""

    def tell(step: int) -> None:
        done = min(step + 1, steps)
        pulse.step(before + done, is_silent=done == steps)

    def on_step_end(_: Any, step: int, __: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        tell(step)
        return tensors

    def callback(step: int, _: Any, __: Any) -> None:
        tell(step)

    if parameters.callback is None:
        return {}
    return {parameters.callback: callback if parameters.callback == "callback" else on_step_end}


def _can_clean() -> bool:
    """Whether the packages are there that pipelines clean captions with."""
    return all(importlib.util.find_spec(name) for name in ("bs4", "ftfy"))


def _picture(frame: np.ndarray) -> Any:
    from PIL import Image

    return Image.fromarray(frame)


def _fitting(frames: np.ndarray, request: ClipRequest, pipelines: str) -> np.ndarray:
    """Cut what is beyond the end of the clip.

    Raises:
        InvalidRequestError: frames have another size, or are too few.
    """
    t, h, w, _ = frames.shape
    for name, got, asked in (("height", h, request.height), ("width", w, request.width)):
        if got != asked:
            raise InvalidRequestError(
                f"{name}: got {asked}, expected {got}, which is what {pipelines} makes of it. "
                f"Fix: ask for {name} {got}."
            )
    if t < request.num_frames:
        raise InvalidRequestError(
            f"num_frames: got {request.num_frames}, expected {t}, which is what {pipelines} makes "
            f"of it. Fix: ask for {t} frames."
        )
    return frames[: request.num_frames]


def _is_refusal(error: ValueError) -> bool:
    """Whether a pipeline says that it does not take a value, before it has done anything."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "check_inputs":
            return True
        trace = trace.tb_next
    return False


def _nothing(done: int, steps: int) -> None:
    """Nobody is told."""
