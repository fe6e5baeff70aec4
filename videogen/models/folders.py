"""The weights of a component of a published model: safetensors, whole or in shards.

Names and shapes are compared from the files' headers alone, so a folder that does not fit is
refused in seconds, before anything is read or placed on a device. Pickles are never read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from videogen.errors import WeightsError
from videogen.models.descriptions import read_json
from videogen.models.misfits import misfits
from videogen.models.text_folders import PICKLES

WEIGHTS = "diffusion_pytorch_model"


def weight_files(folder: Path, stem: str = WEIGHTS) -> list[Path]:
    """The safetensors files of a component, in order; an index must name files beside it.

    Raises:
        WeightsError: there are none, a shard is missing, or there are pickles only.
    """
    index = folder / f"{stem}.safetensors.index.json"
    if index.is_file():
        return _shards(index)
    whole = folder / f"{stem}.safetensors"
    if whole.is_file():
        return [whole]
    others = folder.iterdir() if folder.is_dir() else ()
    pickles = sorted(path.name for path in others if path.suffix in PICKLES)
    if pickles:
        raise WeightsError(
            f"{folder}: got {', '.join(pickles)}, expected {whole.name}, because reading a pickle "
            "can run code. Fix: convert it where you trust it, or download the safetensors."
        )
    raise WeightsError(f"{whole}: missing. Fix: copy or download the whole folder.")


def _shards(index: Path) -> list[Path]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise WeightsError(f"{index}: got no weight_map. Fix: download it again.")
    names = sorted(set(map(str, weight_map.values())))
    for name in names:
        if not name.endswith(".safetensors") or Path(name).name != name:
            raise WeightsError(f"{index}: got shard '{name}', expected *.safetensors beside it.")
        if not (index.parent / name).is_file():
            raise WeightsError(f"{index.parent / name}: missing. Fix: download this shard again.")
    return [index.parent / name for name in names]


def check_weights(
    module: nn.Module,
    folder: Path,
    files: list[Path],
    ignored: Collection[str] = (),
    rename: Callable[[str], str] = str,
) -> None:
    """Raise unless names and shapes in `files` are those of `module`, reading only headers.

    Raises:
        WeightsError: a file is truncated; or lists keys missing, unexpected, of other shape.
    """
    found = shapes_of(files, ignored, rename)
    refuse_misfits(folder, {k: v.shape for k, v in module.state_dict().items()}, found)


def shapes_of(
    files: list[Path], ignored: Collection[str] = (), rename: Callable[[str], str] = str
) -> dict[str, list[int]]:
    """Shapes by name, from headers alone; arguments as of `load_component`.

    Raises:
        WeightsError: a file is truncated, or holds a name a second time.
    """
    found: dict[str, list[int]] = {}
    for path in files:
        with _opened(path) as weights:
            for key in weights.keys():  # noqa: SIM118 (not a mapping)
                name = rename(key)
                if name in found:
                    raise WeightsError(f"{path}: got '{name}' a second time, expected it once.")
                found[name] = weights.get_slice(key).get_shape()
    return {k: shape for k, shape in found.items() if not k.endswith(tuple(ignored))}


def refuse_misfits(
    folder: Path, expected: Mapping[str, Sequence[int]], found: Mapping[str, Sequence[int]]
) -> None:
    """Raise unless names and shapes are the expected ones.

    Raises:
        WeightsError: lists keys missing, unexpected, of other shape.
    """
    problems = misfits(expected, found)
    if problems:
        raise WeightsError(
            f"{folder}: the weights do not fit config.json: {'; '.join(problems)}. "
            "Fix: use the weights and the configuration of one model."
        )


def load_component(
    module: nn.Module,
    folder: Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    float32_parts: Collection[str] = (),
    ignored: Collection[str] = (),
    rename: Callable[[str], str] = str,
) -> None:
    """Fill `module` (on the meta device) from a component folder, and set it to evaluation.

    Args:
        dtype: of floating-point weights.
        float32_parts: parts of names between dots that are kept in float32.
        ignored: ends of keys that files may hold beside those of the module.
        rename: from a key of the file to the module's.

    Raises:
        WeightsError: see `weight_files` and `check_weights`.
    """
    files = weight_files(folder)
    check_weights(module, folder, files, ignored, rename)
    for path in files:
        with _opened(path) as weights:
            keys = [k for k in weights.keys() if not k.endswith(tuple(ignored))]  # noqa: SIM118
            tensors = {
                rename(key): _placed(
                    weights.get_tensor(key),
                    device,
                    torch.float32 if set(key.split(".")) & set(float32_parts) else dtype,
                )
                for key in keys
            }
        module.load_state_dict(tensors, strict=False, assign=True)
    module.eval().requires_grad_(False)


def _placed(tensor: Tensor, device: str | torch.device, dtype: torch.dtype) -> Tensor:
    return tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as weights:
            yield weights
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{path}: cannot be read as safetensors ({error}). Fix: copy or download it again."
        ) from error
