"""What a pipeline makes where a row says nothing: from its call and its configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from videogen.foreign.folder import PipelineFolder
from videogen.foreign.parameters import Parameters

DENOISERS = ("transformer", "unet", "prior")
FALLBACK_SIDE_PX = 512
FALLBACK_FRAMES = 16
FPS = {
    "AnimateDiff": 8.0,
    "CogVideoX": 8.0,
    "HunyuanVideo": 24.0,
    "Latte": 8.0,
    "Mochi": 30.0,
    "TextToVideo": 8.0,
    "Wan": 16.0,
}
"""What models were trained at whose calls take no frame rate, by how their pipelines begin."""
SAMPLERS = {
    "UniPCMultistepScheduler": "unipc",
    "DPMSolverMultistepScheduler": "dpmpp_2m",
    "FlowMatchEulerDiscreteScheduler": "euler",
    "EulerDiscreteScheduler": "euler",
    "HeunDiscreteScheduler": "heun",
    "DDIMScheduler": "ddim",
    "CogVideoXDDIMScheduler": "ddim",
    "DDPMScheduler": "ddpm",
}
"""What schedulers are called here; any other one is entered as euler, with a warning."""
_PASSED = ("num_inference_steps", "guidance_scale", "guidance_rescale", "eta")


def recommended(folder: PipelineFolder, parameters: Parameters, size: dict[str, int]) -> Any:
    """Sampling defaults of a pipeline whose frames are of `size`."""
    said = {name: parameters.defaults[name] for name in _PASSED if name in parameters.defaults}
    floats = {name: value if name == _PASSED[0] else float(value) for name, value in said.items()}
    scheduler = _config(folder, "scheduler")
    shift = scheduler.get("flow_shift", scheduler.get("shift"))
    shifted = {"flow_shift": float(shift)} if isinstance(shift, int | float) and shift > 0 else {}
    return {
        **floats,
        **shifted,
        **size,
        "num_frames": _num_frames(folder, parameters),
        "fps": _fps(folder, parameters),
        "sampler": SAMPLERS.get(scheduler_name(folder), "euler"),
    }


def scheduler_name(folder: PipelineFolder) -> str:
    """The class of a pipeline's scheduler; "none" if it has none."""
    scheduler = folder.components.get("scheduler")
    return scheduler.kind if scheduler else "none"


def own_size(
    folder: PipelineFolder, parameters: Parameters, given: Mapping[str, int] | None
) -> dict[str, int]:
    """Height and width in pixels that a pipeline makes by itself.

    Args:
        given: size of the pictures that a later stage is given.
    """
    said = parameters.defaults
    if "height" in said and "width" in said:
        return {"height": int(said["height"]), "width": int(said["width"])}
    factor = _space_factor(_config(folder, "vae")) if "vae" in folder.components else 1
    if given is not None and "height" not in parameters.names:
        return {name: side * factor for name, side in given.items()}
    config: dict[str, Any] = {}
    for name in DENOISERS:
        config = config or _config(folder, name)
    sides = _sides(config)
    if sides is None:
        return {"height": FALLBACK_SIDE_PX, "width": FALLBACK_SIDE_PX}
    return {"height": sides[0] * factor, "width": sides[1] * factor}


def _sides(config: Mapping[str, Any]) -> tuple[int, int] | None:
    """Cells along h and w that a denoiser was trained with."""
    size = config.get("sample_size")
    both = (config.get("sample_height"), config.get("sample_width"))
    sides = both if None not in both else size if isinstance(size, list) else (size, size)
    whole = [side for side in sides if isinstance(side, int) and side > 0]
    return (whole[0], whole[1]) if len(sides) == len(whole) == 2 else None


def _space_factor(vae: Mapping[str, Any]) -> int:
    """Pixels per latent cell and side."""
    for name in ("scale_factor_spatial", "spatial_compression_ratio"):
        if type(vae.get(name)) is int:
            return int(vae[name])
    levels = vae.get("block_out_channels") or vae.get("down_block_types") or [0] * 4
    return 2 ** (len(levels) - 1)


def _num_frames(folder: PipelineFolder, parameters: Parameters) -> int:
    if "num_frames" not in parameters.names:
        return 1
    known = parameters.defaults.get("num_frames")
    sampled = _config(folder, "transformer").get("sample_frames")
    return int(known or sampled or FALLBACK_FRAMES)


def _fps(folder: PipelineFolder, parameters: Parameters) -> float:
    known = (fps for name, fps in FPS.items() if folder.pipeline.startswith(name))
    return float(parameters.defaults.get("fps") or next(known, 12.0))


def _config(folder: PipelineFolder, name: str) -> dict[str, Any]:
    return folder.components[name].config if name in folder.components else {}
