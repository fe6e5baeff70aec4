"""Turn a Wan 2.1 text-to-video folder in the original layout into one in the diffusers layout.

    python scripts/convert_wan_original.py Wan2.1-T2V-1.3B wan-t2v-1.3b --flow-shift 3

The original VAE and text encoder are pickles. They are read with `weights_only=True`, which builds
tensors and nothing else; everything written is safetensors.
"""

from __future__ import annotations

import argparse
import json
import pickle
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from videogen.errors import WeightsError
from videogen.models.descriptions import read_json
from videogen.models.folders import WEIGHTS, weight_files
from videogen.models.wan.original import (
    text_config,
    text_name,
    transformer_config,
    transformer_name,
    vae_name,
)

VAE_FILE, TEXT_FILE = "Wan2.1_VAE.pth", "models_t5_umt5-xxl-enc-bf16.pth"
TOKENIZER = "google/umt5-xxl"


def convert(original: Path, out: Path, flow_shift: float = 3.0) -> None:
    """Write the folder `out` in the diffusers layout.

    Raises:
        WeightsError: a file of the original folder is missing or cannot be read.
        ConfigError: its `config.json` is not that of a Wan transformer.
    """
    out.mkdir(parents=True)
    convert_transformer(original, out / "transformer")
    convert_vae(read_pickle(original / VAE_FILE), out / "vae")
    convert_text(read_pickle(original / TEXT_FILE), out / "text_encoder")
    if not (original / TOKENIZER).is_dir():
        raise WeightsError(f"{original / TOKENIZER}: missing. Fix: copy the tokenizer there.")
    shutil.copytree(original / TOKENIZER, out / "tokenizer")
    write_json(out / "scheduler" / "scheduler_config.json", scheduler_config(flow_shift))
    write_json(out / "model_index.json", INDEX)


def convert_transformer(original: Path, out: Path) -> None:
    """Rename the weights of the transformer, file by file."""
    out.mkdir()
    files = weight_files(original)
    places: dict[str, str] = {}
    shapes: dict[str, Tensor] = {}
    for path in files:
        with safe_open(path, framework="pt") as weights:
            tensors = {key: weights.get_tensor(key) for key in weights.keys()}  # noqa: SIM118
        save_file(
            {transformer_name(key): tensor for key, tensor in tensors.items()}, out / path.name
        )
        places |= {transformer_name(key): path.name for key in tensors}
        shapes |= {key: tensor.to("meta") for key, tensor in tensors.items()}
    if len(files) > 1:
        write_json(out / f"{WEIGHTS}.safetensors.index.json", {"weight_map": places})
    path = original / "config.json"
    write_json(out / "config.json", transformer_config(read_json(path), shapes, str(path)))


def convert_vae(weights: Mapping[str, Tensor], out: Path) -> None:
    """Rename the weights of the VAE; its sizes are told by shapes."""
    write_weights(weights, vae_name, out / f"{WEIGHTS}.safetensors")
    config = {
        "_class_name": "AutoencoderKLWan",
        "base_dim": len(weights["encoder.conv1.weight"]),
        "z_dim": len(weights["conv2.weight"]),
    }
    write_json(out / "config.json", config)


def convert_text(weights: Mapping[str, Tensor], out: Path) -> None:
    """Rename the weights of the text encoder; its sizes are told by shapes."""
    write_weights(weights, text_name, out / "model.safetensors")
    write_json(out / "config.json", text_config(weights))


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pth` file; anything else in it is an error.

    Raises:
        WeightsError: the file is missing, or holds more than tensors.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: missing. Fix: copy or download the whole folder.")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise WeightsError(
            f"{path}: cannot be read as a state dict of tensors: {error}. "
            "Fix: download it again; never read a pickle in any other way."
        ) from error
    if not all(isinstance(value, Tensor) for value in weights.values()):
        raise WeightsError(f"{path}: got more than tensors, expected a state dict.")
    return weights


def write_weights(weights: Mapping[str, Tensor], rename: Callable[[str], str], path: Path) -> None:
    """Save tensors under other names."""
    path.parent.mkdir(parents=True)
    save_file({rename(key): tensor.contiguous() for key, tensor in weights.items()}, path)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Save a mapping, one key a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def scheduler_config(flow_shift: float) -> dict[str, Any]:
    """The sampler that Wan was published with."""
    return {
        "_class_name": "UniPCMultistepScheduler",
        "prediction_type": "flow_prediction",
        "use_flow_sigmas": True,
        "flow_shift": flow_shift,
        "num_train_timesteps": 1000,
        "solver_order": 2,
        "solver_type": "bh2",
    }


INDEX = {
    "_class_name": "WanPipeline",
    "scheduler": ["diffusers", "UniPCMultistepScheduler"],
    "text_encoder": ["transformers", "UMT5EncoderModel"],
    "tokenizer": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "WanTransformer3DModel"],
    "vae": ["diffusers", "AutoencoderKLWan"],
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("original", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--flow-shift", type=float, default=3.0)
    options = parser.parse_args()
    convert(options.original, options.out, options.flow_shift)
    print(f"{options.out}: written")


if __name__ == "__main__":
    main()
