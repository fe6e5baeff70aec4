"""Train a text-video encoder: each clip is to be told from all captions of the batch.

The loss of a batch needs the vectors of all of it at once, but their gradients only of one part at
a time: GradCache (Gao et al. 2021, 2101.06983), over parts and over workers alike.
"""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from videogen.models.text_video_folder import save_text_video
from videogen.training.checks import check_source
from videogen.training.contrastive_config import ContrastiveTrainConfig
from videogen.training.contrastive_disturb import disturb
from videogen.training.contrastive_loss import (
    Vectors,
    contrastive_loss,
    recognised,
    with_gradients,
)
from videogen.training.contrastive_model import make_learner, start_encoder
from videogen.training.contrastive_pairs import PairBatch, PairSource, RenderedPairs
from videogen.training.denoising import attention
from videogen.training.draws import generator_of
from videogen.training.finetune_state import averaged
from videogen.training.loop import NO_HOOKS, Hooks, Saved, shares, train
from videogen.training.measured import LOSS
from videogen.training.world import World

SCALE = "scale"


def train_contrastive(
    config: ContrastiveTrainConfig,
    folder: Path,
    world: World | None = None,
    stop_at: int | None = None,
    hooks: Hooks = NO_HOOKS,
    source: PairSource | None = None,
) -> None:
    """Train, or go on training, in `folder`; `folder/model` holds the averaged encoder.

    Args:
        folder: of this worker; those of all workers hold the same checkpoint, or none.
        world: None is that of the default process group.
        stop_at: leave after this step with a checkpoint; the schedule stays that of the config.
        hooks: `on_save` is given the averaged `TextVideoEncoder`.
        source: of the clips and captions of `config.data`; None renders them.

    Raises:
        ConfigError: `config` names data and there is no source of it, or too many workers.
        WeightsError: `folder` holds a checkpoint of another configuration, or `start_from` no
            encoder of these sizes.
    """
    check_source(config.data, source, "pairs", "contrastive")
    world = world or World.of_process_group()
    torch.set_num_threads(config.schedule.num_threads)
    stage = ContrastiveTraining(config, world, source or RenderedPairs(config))
    train(stage, folder, world, stop_at, hooks)


@dataclass
class DrawnPairs:
    """A batch, the same on every worker, and what has been computed of it.

    Attributes:
        vectors: of the whole batch, without gradients.
        frames: disturbed, of the parts that were asked for.
    """

    step: int
    batch: PairBatch
    vectors: Vectors | None = None
    frames: dict[range, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.batch)


class ContrastiveTraining:
    """The stage."""

    def __init__(self, config: ContrastiveTrainConfig, world: World, source: PairSource) -> None:
        self.config, self.world, self.source = config, world, source
        self.encoder = start_encoder(config, source.vocabulary)
        self.learner = make_learner(self.encoder, config, world)
        self._steps = 0

    def draw(self, step: int) -> DrawnPairs:
        self._steps = step + 1
        return DrawnPairs(step, self.source.draw(step, self.config.schedule.batch_size))

    def losses(self, drawn: DrawnPairs, places: range) -> dict[str, Tensor]:
        """The part's share of the batch's loss, with the whole gradient of the part's vectors."""
        batch, share = drawn.batch, len(places) / len(drawn)
        live, scale = self._vectors(self.learner.forward, drawn, places)
        if drawn.vectors is None:
            drawn.vectors = self._of_batch(drawn, places, live)
        everything = Vectors(
            with_gradients(drawn.vectors.clips, places, live.clips, 1 / share),
            with_gradients(drawn.vectors.texts, batch.texts_at(places), live.texts, 1 / share),
        )
        loss = contrastive_loss(everything, scale, batch.also_true.to(scale.device))
        return {LOSS: share * loss, SCALE: share * scale.detach()}

    def computing(self) -> AbstractContextManager[object]:
        return attention(self.learner.device)

    def save(self, folder: Path | None) -> Saved | None:
        weights = averaged(self.learner.averages, "encoder.")
        if folder is None:
            return None
        encoder = copy.deepcopy(self.encoder).eval()
        encoder.load_state_dict(weights)
        save_text_video(folder / "model", encoder, self.config.name, self._trained_on())
        return Saved(encoder, recognised(encoder, *self._validation))

    @cached_property
    def _validation(self) -> tuple[PairBatch, Tensor]:
        batch = self.source.held_out(self.config.validation_clips)
        return batch, batch.clips(range(len(batch)))

    @torch.no_grad()
    def _of_batch(self, drawn: DrawnPairs, places: range, live: Vectors) -> Vectors:
        """Vectors of all parts, those of the other workers too; `live` are those at `places`."""
        whole = Vectors(
            live.clips.new_zeros(len(drawn), live.clips.shape[1]),
            live.texts.new_zeros(len(drawn.batch.captions), live.texts.shape[1]),
        )
        for part, weight in shares(len(drawn), self.world, self.config.accumulate):
            if not weight:
                continue
            is_live = part == places
            own = live if is_live else self._vectors(self.learner.module, drawn, part)[0]
            whole.clips[list(part)] = own.clips
            whole.texts[drawn.batch.texts_at(part)] = own.texts
        if self.world.size > 1:  # where a worker has nothing it has zeros
            dist.all_reduce(whole.clips)
            dist.all_reduce(whole.texts)
        return whole

    def _vectors(
        self, forward: nn.Module, drawn: DrawnPairs, places: range
    ) -> tuple[Vectors, Tensor]:
        """Vectors of a part, and the scale."""
        captions = [drawn.batch.captions[i] for i in drawn.batch.texts_at(places)]
        if places not in drawn.frames:
            drawn.frames[places] = self._disturbed(drawn, places)
        clips, texts, scale = forward(drawn.frames[places].to(self.learner.device), captions)
        return Vectors(clips, texts), scale

    def _disturbed(self, drawn: DrawnPairs, places: range) -> Tensor:
        config, clips = self.config, drawn.batch.clips(places).split(1)
        seeds = [(config.schedule.seed, drawn.step, place) for place in places]
        return torch.cat(
            [
                disturb(clip, config.disturbance, generator_of(*seed))
                for clip, seed in zip(clips, seeds, strict=True)
            ]
        )

    def _trained_on(self) -> dict[str, Any]:
        return {
            "worlds": list(self.config.worlds),
            "steps": self._steps,
            "batch_size": self.config.schedule.batch_size,
            "seed": self.config.schedule.seed,
        }
