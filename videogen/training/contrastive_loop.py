"""Train a text-video encoder: symmetric InfoNCE over a batch (Radford et al. 2021, 2103.00020)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from videogen.errors import WeightsError
from videogen.models.text_video import TextVideoEncoder
from videogen.models.text_video_folder import load_text_video, save_text_video
from videogen.models.text_video_spec import SHIPPED, TextVideoSpec
from videogen.training.contrastive_config import ContrastiveTrainConfig
from videogen.training.contrastive_disturb import disturb
from videogen.training.contrastive_pairs import PairBatch, PairSource, RenderedPairs
from videogen.training.optimizers import make_optimizers, scale_learning_rates
from videogen.training.state import (
    AveragedModel,
    TrainingLog,
    learning_rate_at,
    load_checkpoint,
    save_checkpoint,
)
from videogen.training.vocabulary import with_words_of


def contrastive_loss(clips: Tensor, texts: Tensor, scale: Tensor, also_true: Tensor) -> Tensor:
    """Mean of the two cross-entropies: the right caption of a clip, the right clip of a caption.

    Args:
        clips: unit vectors `b d`.
        texts: unit vectors `n d`; the first `b` belong to the clips in order, the others to none.
        scale: factor on their cosines.
        also_true: bool `b n`, pairs that are left out, because the caption is true of the clip.
    """
    logits = (scale * clips @ texts.T).masked_fill(also_true, float("-inf"))
    own = torch.arange(len(clips), device=clips.device)
    of_captions = F.cross_entropy(logits[:, : len(clips)].T, own)
    return (F.cross_entropy(logits, own) + of_captions) / 2


def train_contrastive(
    config: ContrastiveTrainConfig,
    folder: Path,
    source: PairSource | None = None,
    stop_at: int | None = None,
) -> TextVideoSpec:
    """Train, or go on training, in `folder`.

    Args:
        source: of clips and captions; None renders them.
        stop_at: leave after this step with a checkpoint; the schedule stays that of the config.

    Returns:
        The description of `folder/model`, which holds the averaged weights.

    Raises:
        WeightsError: `folder` holds a checkpoint of another configuration.
    """
    schedule = config.schedule
    torch.set_num_threads(schedule.num_threads)
    torch.manual_seed(schedule.seed)
    source = source or RenderedPairs(config)
    encoder = _start(config, source)
    average = AveragedModel(encoder, schedule.ema_decay)
    optimizers = make_optimizers([encoder], schedule, config.muon_learning_rate)
    modules = {"encoder": encoder, "average": average.model}
    first_step = load_checkpoint(folder, modules, optimizers)
    log = TrainingLog(folder, first_step)
    validation = source.held_out(config.validation_clips)
    last_step = min(schedule.num_steps, stop_at or schedule.num_steps)
    for step in range(first_step, last_step):
        rates = (config.muon_learning_rate, schedule.learning_rate)
        scale_learning_rates(optimizers, rates, learning_rate_at(step, schedule))
        batch = source.draw(step, schedule.batch_size)
        loss = _loss(encoder, batch, config, step)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(encoder.parameters(), schedule.gradient_clip)
        for optimizer in optimizers:
            optimizer.step()
        average.update(encoder, step)
        done = step + 1
        if done % schedule.log_every == 0:
            log.write(
                step=done,
                loss=float(loss.detach()),
                gradient_norm=float(norm),
                scale=float(encoder.scale.detach()),
            )
        if done % schedule.checkpoint_every == 0 or done == last_step:
            assert isinstance(average.model, TextVideoEncoder)
            log.write(step=done, **recognised(average.model, validation))
            save_checkpoint(folder, done, modules, optimizers)
            save_text_video(folder / "model", average.model, config.name, _trained_on(config, done))
    return load_text_video(folder / "model")[1]


@torch.no_grad()
def recognised(encoder: TextVideoEncoder, batch: PairBatch) -> dict[str, float]:
    """How often the right caption is the nearest of all, and the right clip of all.

    Captions that are true of a clip besides its own are left out, as in training.
    """
    encoder.eval()
    b = len(batch.frames)
    texts = encoder.encode_text(batch.captions)
    cosines = encoder.encode_video(batch.frames.to(texts.device)) @ texts.T
    cosines = cosines.masked_fill(batch.also_true.to(texts.device), float("-inf"))
    own = torch.arange(b, device=texts.device)
    return {
        "right_caption": float((cosines.argmax(dim=1) == own).float().mean()),
        "right_clip": float((cosines[:, :b].argmax(dim=0) == own).float().mean()),
    }


def _loss(
    encoder: TextVideoEncoder, batch: PairBatch, config: ContrastiveTrainConfig, step: int
) -> Tensor:
    device = torch.device(config.schedule.device)
    generator = torch.Generator().manual_seed(config.schedule.seed * 1_000_003 + step)
    frames = disturb(batch.frames, config.disturbance, generator).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=config.autocast), _attention(device):
        clips, texts = encoder.encode_video(frames), encoder.encode_text(batch.captions)
    return contrastive_loss(clips, texts, encoder.scale, batch.also_true.to(device))


def _attention(device: torch.device) -> AbstractContextManager[object]:
    """On a CPU, over few tokens, plain products beat the fused backward."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def _start(config: ContrastiveTrainConfig, source: PairSource) -> TextVideoEncoder:
    """Random weights, or those of another encoder, which is given the words it does not know."""
    if not config.start_from:
        encoder = TextVideoEncoder(config.encoder, source.vocabulary)
        return encoder.to(config.schedule.device)
    folder = SHIPPED if config.start_from == "shipped" else Path(config.start_from)
    encoder, spec = load_text_video(folder, config.schedule.device)
    if spec.encoder != config.encoder:
        raise WeightsError(
            f"start_from: got '{config.start_from}' with {spec.encoder}, expected "
            f"{config.encoder}. Fix: set encoder to the sizes of the one to start from."
        )
    encoder.text = with_words_of(encoder.text, source.vocabulary)
    return encoder.requires_grad_(True).train()


def _trained_on(config: ContrastiveTrainConfig, steps: int) -> dict[str, Any]:
    return {
        "worlds": list(config.worlds),
        "steps": steps,
        "batch_size": config.schedule.batch_size,
        "seed": config.schedule.seed,
    }
