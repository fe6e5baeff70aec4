"""What a fine-tuning run leaves: a model folder, or adapters."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

from torch import Tensor, nn

from videogen.models.config import TextConfig
from videogen.models.dit import SpacetimeDiT
from videogen.models.protocol import VideoModel
from videogen.models.spec import resolve_model
from videogen.models.text import WordEncoder
from videogen.models.weights import Model, save_model
from videogen.training.config import FineTuneConfig
from videogen.training.finetune_model import Student
from videogen.training.finetune_state import averaged
from videogen.training.lora import add_lora, save_lora

LORA_FILE = "lora.safetensors"
MODEL_FOLDER = "model"


def save_result(student: Student, config: FineTuneConfig, folder: Path | None) -> VideoModel | None:
    """Write the averaged weights; every worker has to take part, the first one has a folder.

    Returns:
        The model as it is now, on the worker that has a folder.
    """
    tensors = averaged(student.learner.averages, "dit.")
    words = averaged(student.learner.averages, "text.")
    if folder is None:
        return None
    if config.lora_rank:
        save_lora(tensors, folder / LORA_FILE)
        base = _recommending(student) if isinstance(student.base, Model) else student.base
        return dataclasses.replace(base, dit=_with_adapters(student, config, tensors))  # pyright: ignore[reportArgumentType]
    base = _recommending(student)
    dit = SpacetimeDiT(base.spec.dit)
    dit.load_state_dict(tensors)
    text, spec = (
        base.text,
        dataclasses.replace(base.spec, name=config.name, text=_text(config, base)),
    )
    if isinstance(student.module.text, WordEncoder):
        text = WordEncoder(base.spec.text, student.module.text.vocabulary)
        text.load_state_dict(words)
        spec = dataclasses.replace(spec, vocabulary=text.vocabulary)
    module = text if isinstance(text, nn.Module) else None
    spec = save_model(folder / MODEL_FOLDER, spec, dit, base.vae, module)
    return dataclasses.replace(base, spec=spec, dit=dit.eval(), text=text)


def _recommending(student: Student) -> Model:
    """The model that was read, recommending what its clips were."""
    base = student.base
    assert isinstance(base, Model)
    sampling = base.spec.sampling | student.recommended
    return dataclasses.replace(base, spec=dataclasses.replace(base.spec, sampling=sampling))


def _text(config: FineTuneConfig, base: Model) -> TextConfig:
    """A pretrained text encoder stays where it is, and is found from another folder."""
    said = base.spec.text
    if said.kind == "words":
        return said
    return dataclasses.replace(said, path=str((resolve_model(config.model) / said.path).absolute()))


def _with_adapters(
    student: Student, config: FineTuneConfig, tensors: dict[str, Tensor]
) -> nn.Module:
    dit = copy.deepcopy(student.base.dit)
    add_lora(dit, config.lora_rank)
    dit.load_state_dict(tensors, strict=False)
    return dit.eval()
