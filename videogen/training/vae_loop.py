"""Train the video VAE on rendered clips, or on frames of one's own."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from videogen.models.spec import LatentStatistics
from videogen.models.vae import VideoVAE
from videogen.models.weights import read_vae_weights, save_vae
from videogen.training.checks import check_source
from videogen.training.config import VAETrainConfig
from videogen.training.draws import generator_of
from videogen.training.finetune_state import Averages, averaged
from videogen.training.learner import Learner, share
from videogen.training.loop import NO_HOOKS, Hooks, Saved, train
from videogen.training.optimizers import make_kernel_optimizers
from videogen.training.vae_frames import FrameSource, RenderedFrames
from videogen.training.vae_loss import VAELoss
from videogen.training.world import World


@torch.no_grad()
def reconstruction_psnr(vae: VideoVAE, frames: Tensor) -> float:
    """PSNR in dB, over all pixels, of frames `b 3 t h w` in [-1, 1] encoded and decoded."""
    restored = vae.decode_at_once(vae.encode(frames)).clamp(-1.0, 1.0)
    mse = (restored - frames).square().mean() / 4.0
    return float(-10.0 * torch.log10(mse))


@torch.no_grad()
def latent_statistics(vae: VideoVAE, frames: Tensor) -> LatentStatistics:
    """Mean and standard deviation of each latent channel over frames `b 3 t h w`."""
    latents = vae.encode(frames).transpose(0, 1).flatten(1)
    mean, std = latents.mean(dim=1), latents.std(dim=1)
    return LatentStatistics(mean=tuple(mean.tolist()), std=tuple(std.tolist()))


def train_vae(
    config: VAETrainConfig,
    folder: Path,
    world: World | None = None,
    stop_at: int | None = None,
    hooks: Hooks = NO_HOOKS,
    source: FrameSource | None = None,
) -> None:
    """Train, or go on training, in `folder`; `folder/model` holds the average as a VAE folder.

    Args:
        folder: of this worker; those of all workers hold the same checkpoint, or none.
        world: None is that of the default process group.
        stop_at: leave after this step with a checkpoint; the schedule stays that of the config.
        hooks: `on_save` is given the averaged `VideoVAE`.
        source: of the frames of `config.data`; None renders clips.

    Raises:
        ConfigError: `config` names data and there is no source of it, or settings exclude others.
        WeightsError: `folder` holds a checkpoint of another configuration.
    """
    check_source(config.data, source, "frames", "vae")
    world = world or World.of_process_group()
    torch.set_num_threads(config.schedule.num_threads)
    stage = VAETraining(config, world, source or RenderedFrames(config))
    train(stage, folder, world, stop_at, hooks)


@dataclass(frozen=True)
class NumberedBatch:
    """A batch of which only the number is needed: samples are made where they are used."""

    step: int
    size: int

    def __len__(self) -> int:
        return self.size


class VAETraining:
    """The stage."""

    def __init__(self, config: VAETrainConfig, world: World, source: FrameSource) -> None:
        self.config, self.source = config, source
        torch.manual_seed(config.schedule.seed)
        self.vae = VideoVAE(config.vae).to(config.schedule.device)
        self._kept = _start_from(self.vae, config)
        anchor = copy.deepcopy(self.vae).requires_grad_(False) if config.anchor_weight else None
        self.vae.encoder.requires_grad_(not config.freeze_encoder)
        self.learner = self._learner(VAELoss(self.vae, config, self._spread(), anchor), world)

    def _learner(self, module: VAELoss, world: World) -> Learner:
        config, schedule = self.config, self.config.schedule
        forward = share(module, schedule, world)
        optimizers = make_kernel_optimizers(
            module, schedule.learning_rate, config.muon_learning_rate
        )
        rates = (config.muon_learning_rate, schedule.learning_rate)
        return Learner(
            module=module,
            forward=forward,
            averages=Averages(module, schedule.ema_decay),
            optimizers=optimizers,
            rates=rates[-len(optimizers) :],
            schedule=schedule,
            accumulate=config.accumulate,
        )

    def draw(self, step: int) -> NumberedBatch:
        return NumberedBatch(step, self.config.schedule.batch_size)

    def losses(self, drawn: NumberedBatch, places: range) -> dict[str, Tensor]:
        frames = self.source.training(drawn.step, places).to(self.learner.device)
        values = self.learner.forward(frames, self._noise(drawn.step, places, frames.shape))
        return {name: value.sum() / len(drawn) for name, value in values.items()}

    def computing(self) -> AbstractContextManager[object]:
        return nullcontext()

    def save(self, folder: Path | None) -> Saved | None:
        weights = averaged(self.learner.averages, "vae.")
        if folder is None:
            return None
        vae = copy.deepcopy(self.vae).eval()
        vae.load_state_dict(weights, strict=False)
        same_latents = self.config.freeze_encoder or self.config.anchor_weight
        statistics = self._kept if same_latents else None
        save_vae(folder / "model", vae, statistics or latent_statistics(vae, self._validation))
        return Saved(vae, {"psnr_db": reconstruction_psnr(vae, self._validation)})

    @cached_property
    def _validation(self) -> Tensor:
        return self.source.validation().to(self.config.schedule.device)

    def _spread(self) -> Tensor:
        """Standard deviations of latents, for a broadcast over `b c t h w`; 1 where not needed."""
        config = self.config
        if not config.freeze_encoder and not config.anchor_weight:
            return torch.ones(1)
        statistics = self._kept or latent_statistics(self.vae, self._validation)
        return torch.tensor(statistics.std, device=config.schedule.device).view(1, -1, 1, 1, 1)

    def _noise(self, step: int, places: range, shape: torch.Size) -> Tensor:
        vae, (t, h, w) = self.config.vae, shape[2:]
        side = vae.space_factor
        size = vae.latent_channels, vae.latent_frames(t), h // side, w // side
        seed = self.config.schedule.seed
        generators = [generator_of(seed, step, place) for place in places]
        noise = torch.stack([torch.randn(size, generator=each) for each in generators])
        if self.config.freeze_encoder or self.config.anchor_weight:
            shares = [torch.rand(1, 1, 1, 1, generator=each) for each in generators]
            noise = noise * self.config.latent_noise * torch.stack(shares)
        return noise.to(self.learner.device)


def _start_from(vae: VideoVAE, config: VAETrainConfig) -> LatentStatistics | None:
    """Copy what fits of `config.start_from`, and return the statistics of its latents."""
    if not config.start_from:
        return None
    weights, statistics = read_vae_weights(Path(config.start_from))
    own = vae.state_dict()
    fitting = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    vae.load_state_dict({**own, **fitting})
    return statistics
