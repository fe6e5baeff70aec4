"""Fine-tune a model on encoded clips: alone, or as one of several workers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import Tensor

from videogen.training.config import FineTuneConfig
from videogen.training.denoising import NoisyClips, attention
from videogen.training.draws import Draw, draw
from videogen.training.encoded_clips import EncodedClips
from videogen.training.finetune_model import Student, make_student
from videogen.training.finetune_result import save_result
from videogen.training.learner import Learner
from videogen.training.loop import NO_HOOKS, Hooks, Saved, train
from videogen.training.recommended import differing
from videogen.training.world import World


def finetune(
    config: FineTuneConfig,
    folder: Path,
    world: World | None = None,
    stop_at: int | None = None,
    hooks: Hooks = NO_HOOKS,
) -> None:
    """Fine-tune, or go on with it, in `folder`; its `model` or `lora.safetensors` is the result.

    Args:
        folder: of this worker; those of all workers hold the same checkpoint, or none.
        world: None is that of the default process group.
        stop_at: leave after this step with a checkpoint; the schedule stays that of the config.
        hooks: `on_save` is given the averaged `VideoModel`; `on_note` is told of clips that are
            not what the model recommends.

    Raises:
        ConfigError: the data is not there or does not fit the model.
        WeightsError: the model cannot be read, or the checkpoint is of another configuration.
    """
    world = world or World.of_process_group()
    torch.set_num_threads(config.schedule.num_threads)
    stage = FineTuning(config, world)
    if world.is_first and (note := stage.note()):
        hooks.on_note(note)
    train(stage, folder, world, stop_at, hooks)


class FineTuning:
    """The stage: clips that were encoded once, drawn again and again."""

    def __init__(self, config: FineTuneConfig, world: World) -> None:
        self.config = config
        self.clips = EncodedClips(config.data)
        self.student: Student = make_student(config, self.clips, world)

    @property
    def learner(self) -> Learner:
        return self.student.learner

    def note(self) -> str:
        """How clips differ from what the model recommends, and what becomes of it; "" if not."""
        said = differing(self.student.recommended, self.student.base.spec)
        whole, adapter = "the result will recommend the former", "ask for the former to generate"
        return f"{said}; {adapter if self.config.lora_rank else whole}" if said else ""

    def draw(self, step: int) -> Draw:
        return draw(self.config, self.clips.buckets, step)

    def losses(self, drawn: Draw, places: range) -> dict[str, Tensor]:
        indices = [drawn.indices[place] for place in places]
        latents = self.clips.latents(indices)
        levels = drawn.levels[places.start : places.stop]
        captions = [
            "" if drawn.drops[place] else caption
            for place, caption in zip(places, self.clips.captions(indices), strict=True)
        ]
        noise = torch.stack([drawn.noise(place, latents.shape[1:]) for place in places])
        counted = torch.ones_like(levels, dtype=torch.bool)
        clips = NoisyClips(latents, noise, levels, captions, counted)
        return self.student.denoising.losses(
            self.learner.forward, self.learner.device, clips, drawn.levels.numel()
        )

    def computing(self) -> AbstractContextManager[object]:
        return attention(self.learner.device)

    def save(self, folder: Path | None) -> Saved | None:
        model = save_result(self.student, self.config, folder)
        return None if model is None else Saved(model)
