"""What is trained of a model that was read: all of it, or adapters."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from videogen.errors import ConfigError
from videogen.extension.schedule import schedule_of
from videogen.models.block_lists import blocks_of
from videogen.models.latents_digest import latents_digest
from videogen.models.protocol import VideoModel
from videogen.models.published import is_published, load_published
from videogen.models.text import WordEncoder
from videogen.models.wan.experts import NoiseExperts
from videogen.models.wan.folder import WanModel
from videogen.models.weights import Model, load_model
from videogen.training.config import FineTuneConfig
from videogen.training.denoising import Conditioned, Denoising, checkpoint_blocks
from videogen.training.encoded_clips import EncodedClips, encoded_with
from videogen.training.learner import Learner, check_muon, transformer_learner
from videogen.training.lora import add_lora
from videogen.training.recommended import most_frequent
from videogen.training.vocabulary import with_words_of
from videogen.training.world import World


@dataclass(frozen=True)
class Student:
    """A model that was read, and what of it is trained.

    Attributes:
        base: as it was read; its VAE and its description go into the result.
        recommended: sampling settings of most of the clips, which the result recommends.
    """

    base: VideoModel
    module: Conditioned
    learner: Learner
    denoising: Denoising
    recommended: dict[str, Any]


def make_student(config: FineTuneConfig, clips: EncodedClips, world: World) -> Student:
    """Read the model and prepare it for training, the same on every worker.

    Raises:
        ConfigError: the clips were encoded by another model, or settings exclude each other.
        WeightsError: there is no such model, or it cannot be read.
    """
    check_muon(config.muon_learning_rate, config.strategy, config.lora_rank)
    base = _load(config)
    _check_kind(config, base)
    _check_clips(config, base, clips)
    module = _trainable(config, base, clips).train().to(config.schedule.device)
    if config.checkpoint_blocks:
        checkpoint_blocks(module.dit)
    learner = transformer_learner(
        module,
        config.schedule,
        world,
        accumulate=config.accumulate,
        muon_learning_rate=config.muon_learning_rate,
        strategy=config.strategy,
        blocks=blocks_of(module.dit),
        origin=base.spec.digest,
    )
    schedule = schedule_of(base.spec)
    denoising = Denoising(schedule.path, schedule.prediction, config.autocast)
    return Student(base, module, learner, denoising, most_frequent(clips, base.spec))


def _load(config: FineTuneConfig) -> VideoModel:
    """The model, its transformer in the CPU's memory: what is trained is a copy of that."""
    folder, device = Path(config.model).expanduser(), config.schedule.device
    if is_published(folder):
        return load_published(folder, device, torch.float32, dit_device="cpu")
    return load_model(config.model, device, dit_device="cpu")


def _trainable(config: FineTuneConfig, base: VideoModel, clips: EncodedClips) -> Conditioned:
    dit = copy.deepcopy(base.dit)
    if config.lora_rank:
        add_lora(dit, config.lora_rank, config.schedule.seed)
        return Conditioned(dit, base.text, trains_text=False)
    dit.requires_grad_(True)
    if not isinstance(base.text, WordEncoder):
        return Conditioned(dit, base.text, trains_text=False)
    text = with_words_of(copy.deepcopy(base.text), (clip.caption for clip in clips.clips))
    return Conditioned(dit, text.requires_grad_(True), trains_text=True)


def _check_kind(config: FineTuneConfig, base: VideoModel) -> None:
    """Raise `ConfigError` for models that nothing here can train, or write."""
    if not config.lora_rank and not isinstance(base, Model):
        raise ConfigError(
            f"lora_rank: got 0 for {base.spec.name}, expected adapters, because the folders of "
            "published models are not written. Fix: set lora_rank to 16, for example."
        )
    if isinstance(base, WanModel) and isinstance(base.dit, NoiseExperts):
        raise _untrainable(config, "two transformers for different noise levels")
    if isinstance(base, WanModel) and base.spec.dit.condition_channels:
        raise _untrainable(config, "clips that start from a picture")


def _untrainable(config: FineTuneConfig, why: str) -> ConfigError:
    return ConfigError(
        f"model: got {config.model}, a model of {why}, expected one transformer that reads text "
        "alone. Fix: use a text-to-video model such as Wan 2.1 T2V or Latte-1."
    )


def _check_clips(config: FineTuneConfig, base: VideoModel, clips: EncodedClips) -> None:
    expected = base.spec.vae.latent_channels
    for shape, indices in clips.buckets.items():
        if len(shape) != 4 or shape[0] != expected:
            raise ConfigError(
                f"{clips.clips[indices[0]].shard}: got latents of shape {shape}, expected "
                f"{expected} channels, time, height, width as {config.model} has. "
                "Fix: encode the clips with the model that is trained."
            )
    _check_vae(config)


def _check_vae(config: FineTuneConfig) -> None:
    """Raise `ConfigError` for latents of another VAE, where it is known which one made them."""
    said = encoded_with(Path(config.data))
    expected = said.get("vae_digest")
    if expected is None:
        return
    digest = latents_digest(config.model)
    if digest != expected:
        raise ConfigError(
            f"{config.data}: got latents of the VAE of {said.get('model')} (digest "
            f"{expected[:12]}), expected those of {config.model} (digest {digest[:12]}). "
            "Fix: encode the clips with the model that is trained."
        )
