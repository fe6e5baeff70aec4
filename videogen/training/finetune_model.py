"""What is trained of a model, wrapped for one worker or for several."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from videogen.diffusion.objectives import Objective
from videogen.diffusion.process import NoisePath
from videogen.errors import ConfigError
from videogen.extension.schedule import schedule_of
from videogen.models.protocol import VideoModel
from videogen.models.published import is_published, load_published
from videogen.models.text import WordEncoder
from videogen.models.weights import load_model
from videogen.training.config import FineTuneConfig
from videogen.training.encoded_clips import EncodedClips
from videogen.training.finetune_state import Averages, trained
from videogen.training.lora import add_lora
from videogen.training.optimizers import make_optimizers
from videogen.training.vocabulary import with_words_of
from videogen.training.world import World


class Conditioned(nn.Module):
    """A transformer that reads prompts; a text encoder that is a child of it is trained too."""

    def __init__(self, dit: nn.Module, text: Any, *, trains_text: bool) -> None:
        super().__init__()
        self.dit = dit
        self.text = text if trains_text else None
        self._read = partial(_encode, text, trains_text)

    def forward(self, noisy: Tensor, timesteps: Tensor, prompts: Sequence[str]) -> Tensor:
        return self.dit(noisy, timesteps, text=self._read(prompts))


def _encode(text: Any, is_trained: bool, prompts: Sequence[str]) -> Any:
    if is_trained:
        return text.encode(prompts)
    with torch.no_grad():
        return text.encode(prompts)


@dataclass(frozen=True)
class Learner:
    """A model and all that changes while it learns."""

    config: FineTuneConfig
    base: VideoModel
    """As it was read; its VAE and its description go into the result."""
    module: Conditioned
    forward: nn.Module
    """`module`, or what keeps it the same on all workers."""
    averages: Averages
    optimizers: list[torch.optim.Optimizer]
    rates: tuple[float, ...]
    path: NoisePath
    objective: Objective

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [parameter for _, parameter in trained(self.module)]

    @property
    def device(self) -> torch.device:
        return self.parameters[0].device

    @contextmanager
    def synchronised(self, now: bool) -> Iterator[None]:
        """Whether gradients are averaged over the workers in this backward pass."""
        if isinstance(self.forward, FSDPModule):
            self.forward.set_requires_gradient_sync(now)
            yield
        elif isinstance(self.forward, DistributedDataParallel) and not now:
            with self.forward.no_sync():
                yield
        else:
            yield


def make_learner(config: FineTuneConfig, clips: EncodedClips, world: World) -> Learner:
    """Read the model and prepare it for training, the same on every worker.

    Raises:
        ConfigError: the clips were encoded by another model, or settings exclude each other.
        WeightsError: there is no such model, or it cannot be read.
    """
    _check(config, world)
    base = _load(config)
    _check_clips(config, base, clips)
    module = _trainable(config, base, clips).train().to(config.schedule.device)
    if config.checkpoint_blocks:
        for block in _blocks(module.dit):
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    forward = _shared(config, module, world)
    optimizers, rates = _optimizers(config, module)
    schedule = schedule_of(base.spec)
    return Learner(
        config=config,
        base=base,
        module=module,
        forward=forward,
        averages=Averages(module, config.schedule.ema_decay),
        optimizers=optimizers,
        rates=rates,
        path=schedule.path,
        objective=schedule.prediction,
    )


def _load(config: FineTuneConfig) -> VideoModel:
    folder = Path(config.model).expanduser()
    if is_published(folder):
        return load_published(folder, config.schedule.device, torch.float32)
    return load_model(config.model, config.schedule.device)


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


def _shared(config: FineTuneConfig, module: Conditioned, world: World) -> nn.Module:
    if world.size == 1:
        return module
    device = torch.device(config.schedule.device)
    if config.strategy == "ddp":
        return DistributedDataParallel(
            module, device_ids=[device] if device.type == "cuda" else None
        )
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for block in _blocks(module.dit):
        fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)
    return module


def _blocks(dit: nn.Module) -> list[nn.Module]:
    lists = [child for child in dit.children() if isinstance(child, nn.ModuleList)]
    return [block for blocks in lists for block in blocks]


def _optimizers(
    config: FineTuneConfig, module: Conditioned
) -> tuple[list[torch.optim.Optimizer], tuple[float, ...]]:
    rate = config.schedule.learning_rate
    if config.muon_learning_rate:
        optimizers = make_optimizers([module], config.schedule, config.muon_learning_rate)
        return optimizers, (config.muon_learning_rate, rate)
    parameters = [parameter for _, parameter in trained(module)]
    adamw = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
    return [adamw], (rate,)


def _check(config: FineTuneConfig, world: World) -> None:
    if config.muon_learning_rate and (config.strategy == "fsdp" or config.lora_rank):
        raise ConfigError(
            f"muon_learning_rate: got {config.muon_learning_rate:g} with "
            f"{'lora_rank' if config.lora_rank else 'strategy fsdp'}, expected 0, because Muon "
            "needs whole matrices of the model. Fix: leave it out."
        )
    if config.schedule.batch_size < world.size:
        raise ConfigError(
            f"schedule.batch_size: got {config.schedule.batch_size} for {world.size} workers, "
            f"expected at least one clip each. Fix: use {world.size} or more."
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
