"""What a fine-tuning run leaves: a model folder, or adapters."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

from torch import Tensor, nn

from videogen.models.dit import SpacetimeDiT
from videogen.models.protocol import VideoModel
from videogen.models.text import WordEncoder
from videogen.models.weights import Model, save_model
from videogen.training.config import FineTuneConfig
from videogen.training.finetune_model import Student
from videogen.training.finetune_state import whole
from videogen.training.lora import save_lora

LORA_FILE = "lora.safetensors"
MODEL_FOLDER = "model"


def save_result(student: Student, config: FineTuneConfig, folder: Path | None) -> VideoModel | None:
    """Write the averaged weights; every worker has to take part, the first one has a folder.

    Returns:
        The model as it is now, on the worker that has a folder.
    """
    averages = {name: whole(tensor) for name, tensor in student.learner.averages.tensors.items()}
    if folder is None:
        return None
    if config.lora_rank:
        tensors = _under("dit.", averages)
        save_lora(tensors, folder / LORA_FILE)
        return dataclasses.replace(student.base, dit=_with_adapters(student, tensors))  # pyright: ignore[reportArgumentType]
    base = student.base
    assert isinstance(base, Model)
    dit = SpacetimeDiT(base.spec.dit)
    dit.load_state_dict(_under("dit.", averages))
    text, spec = base.text, dataclasses.replace(base.spec, name=config.name)
    if isinstance(student.module.text, WordEncoder):
        text = WordEncoder(base.spec.text, student.module.text.vocabulary)
        text.load_state_dict(_under("text.", averages))
        spec = dataclasses.replace(spec, vocabulary=text.vocabulary)
    module = text if isinstance(text, nn.Module) else None
    spec = save_model(folder / MODEL_FOLDER, spec, dit, base.vae, module)
    return dataclasses.replace(base, spec=spec, dit=dit.eval(), text=text)


def _with_adapters(student: Student, tensors: dict[str, Tensor]) -> nn.Module:
    dit = copy.deepcopy(student.module.dit).cpu().eval()
    dit.load_state_dict(tensors, strict=False)
    return dit


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
