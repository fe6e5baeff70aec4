"""A default model from nothing, or from another one: what `train dit` trains, and its result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from videogen.diffusion.process import RectifiedFlow
from videogen.errors import ConfigError
from videogen.models.block_lists import blocks_of
from videogen.models.dit import SpacetimeDiT
from videogen.models.spec import ModelSpec
from videogen.models.text import WordEncoder
from videogen.models.vae import VideoVAE
from videogen.models.weights import Model, load_model, load_vae, save_model
from videogen.training.config import DiTTrainConfig
from videogen.training.denoising import Conditioned, Denoising, Prompted
from videogen.training.finetune_state import averaged
from videogen.training.learner import Learner, check_muon, transformer_learner
from videogen.training.prompts import vocabulary_of
from videogen.training.scene_reader import SceneReader
from videogen.training.vocabulary import with_words_of
from videogen.training.world import World


@dataclass(frozen=True)
class Beginner:
    """A DiT and a text encoder that learn, and the VAE whose latents they learn.

    Attributes:
        vae: on the device of the training.
    """

    spec: ModelSpec
    vae: VideoVAE
    learner: Learner
    denoising: Denoising


def make_beginner(config: DiTTrainConfig, world: World) -> Beginner:
    """Make or read the model and prepare it for training, the same on every worker.

    Raises:
        ConfigError: settings exclude each other.
        WeightsError: there is no VAE in `config.vae_folder`, or no model to start from.
    """
    check_muon(config.muon_learning_rate, config.strategy)
    schedule = config.schedule
    vae, statistics = load_vae(Path(config.vae_folder))
    torch.manual_seed(schedule.seed)
    dit, text = _start(config)
    if config.compile:
        for block in blocks_of(dit):
            block.compile(dynamic=False)
    tokens = text.max_tokens if config.compile else None
    module = _module(config, dit, text, tokens).train().to(schedule.device)
    learner = transformer_learner(
        module,
        schedule,
        world,
        accumulate=config.accumulate,
        muon_learning_rate=config.muon_learning_rate,
        strategy=config.strategy,
        blocks=blocks_of(dit),
    )
    spec = ModelSpec(
        name=config.name,
        dit=config.dit,
        vae=vae.config,
        text=text.config,
        latents=statistics,
        sampling=config.sampling,
        vocabulary=text.vocabulary,
    )
    denoising = Denoising(RectifiedFlow(), "flow", config.autocast)
    return Beginner(spec, vae.to(schedule.device), learner, denoising)


def _module(
    config: DiTTrainConfig, dit: SpacetimeDiT, text: WordEncoder, tokens: int | None
) -> Prompted:
    if not config.reads_scenes:
        return Conditioned(dit, text, trains_text=True, num_tokens=tokens)
    return SceneReader(dit, text, config.dit, after=config.map_block, num_tokens=tokens)


def save_beginner(beginner: Beginner, folder: Path | None) -> Model | None:
    """Write the averaged model to `folder/model`; every worker has to take part."""
    weights = averaged(beginner.learner.averages, "dit.")
    words = averaged(beginner.learner.averages, "text.")
    if folder is None:
        return None
    spec = beginner.spec
    dit, text = SpacetimeDiT(spec.dit), WordEncoder(spec.text, spec.vocabulary)
    dit.load_state_dict(weights)
    text.load_state_dict(words)
    spec = save_model(folder / "model", spec, dit, beginner.vae, text)
    return Model(spec=spec, dit=dit.eval(), vae=beginner.vae, text=text.eval())


def _start(config: DiTTrainConfig) -> tuple[SpacetimeDiT, WordEncoder]:
    """The DiT and the text encoder as they are before the first step."""
    words = vocabulary_of(config.worlds)
    dit, text = SpacetimeDiT(config.dit), WordEncoder(config.text, words)
    if config.start_from:
        start = load_model(Path(config.start_from))
        assert isinstance(start.text, WordEncoder)
        text = with_words_of(start.text.requires_grad_(True), words)
        _take_over(dit, start, config)
    return dit, text


def _take_over(dit: SpacetimeDiT, start: Model, config: DiTTrainConfig) -> None:
    """Copy the weights of a model; a stage at single cells that it does not have stays new."""
    had, wanted = start.spec.dit, config.dit
    grown = replace(had, detail_depth=wanted.detail_depth, detail_width=wanted.detail_width)
    if had != wanted and (had.detail_depth or grown != wanted):
        raise ConfigError(
            f"start_from: got a model with {had}, expected {wanted}, or that without a detail "
            f"stage. Fix: copy the section dit of {config.start_from}/model.yaml."
        )
    dit.load_state_dict(start.dit.state_dict(), strict=had == wanted)
