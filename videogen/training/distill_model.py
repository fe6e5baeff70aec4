"""The student of a distillation: its teacher with an adapter that is trained."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

from videogen.models.lora import merge_lora
from videogen.models.spec import LORA_FILE
from videogen.models.variant import Lora
from videogen.models.weights import Model, describe_adapted, load_model
from videogen.training.denoising import Conditioned
from videogen.training.distill_config import DistillConfig
from videogen.training.distill_teacher import Teacher
from videogen.training.finetune_state import averaged
from videogen.training.learner import Learner, transformer_learner
from videogen.training.lora import add_lora, save_lora
from videogen.training.world import World

MODEL_FOLDER = "model"


@dataclass(frozen=True)
class Student:
    """What learns, and from whom."""

    teacher: Teacher
    learner: Learner


def make_student(config: DistillConfig, world: World) -> Student:
    """Read the teacher, and put an adapter that changes nothing yet beside a copy of it.

    It is the same on every worker.

    Raises:
        WeightsError: there is no such teacher.
        ConfigError: it is no rectified flow, or there are more workers than samples in a batch.
    """
    schedule = config.schedule
    model = load_model(config.model, schedule.device)
    dit = copy.deepcopy(model.dit)
    add_lora(dit, config.lora_rank, schedule.seed)
    module = Conditioned(dit, model.text, trains_text=False)
    teacher = Teacher.of(config, model)
    learner = transformer_learner(
        module, schedule, world, accumulate=config.accumulate, origin=teacher.digest
    )
    return Student(teacher, learner)


def save_student(student: Student, config: DistillConfig, folder: Path | None) -> Model | None:
    """Write the averaged adapter, in float16, and what it belongs to; every worker takes part.

    Returns:
        The teacher with that adapter; None where there is no folder.
    """
    tensors = averaged(student.learner.averages, "dit.")
    if folder is None:
        return None
    result, base = folder / MODEL_FOLDER, student.teacher.model
    result.mkdir(parents=True, exist_ok=True)
    save_lora({name: tensor.half() for name, tensor in tensors.items()}, result / LORA_FILE)
    sampling = {
        "num_inference_steps": config.num_inference_steps,
        "guidance_scale": 1.0,
        "context_guidance": 1.0,
        "sampler": "euler",
    }
    place = config.base or _place(config.model)
    describe_adapted(result, config.name, place, base.spec, sampling)
    dit = copy.deepcopy(base.dit)
    merge_lora(dit, Lora(result / LORA_FILE))
    spec = replace(base.spec, name=config.name, sampling=base.spec.sampling | sampling)
    return replace(base, spec=spec, dit=dit)


def _place(model: str) -> str:
    """A model as it is found from another folder."""
    folder = Path(model).expanduser()
    return str(folder.absolute()) if folder.is_dir() else model
