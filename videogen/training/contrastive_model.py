"""A text-video encoder as it is before the first step, and all that changes with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from videogen.errors import WeightsError
from videogen.models.text_video import TextVideoEncoder
from videogen.models.text_video_folder import load_text_video
from videogen.models.text_video_spec import SHIPPED
from videogen.training.contrastive_config import ContrastiveTrainConfig
from videogen.training.learner import Learner, transformer_learner
from videogen.training.vocabulary import with_words_of
from videogen.training.world import World


class BothEncoders(nn.Module):
    """A text-video encoder that is called once for clips and captions."""

    def __init__(self, encoder: TextVideoEncoder, autocast: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self._autocast = autocast

    def forward(self, frames: Tensor, captions: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Unit vectors of frames `b t c h w`, and of captions, and the scale of their cosines."""
        with torch.autocast(frames.device.type, torch.bfloat16, enabled=self._autocast):
            clips = self.encoder.encode_video(frames)
            texts = self.encoder.encode_text(captions)
        return clips, texts, self.encoder.scale


def start_encoder(config: ContrastiveTrainConfig, vocabulary: tuple[str, ...]) -> TextVideoEncoder:
    """Random weights, or those of another encoder, which is given the words it does not know.

    Raises:
        WeightsError: there is no such encoder, or it has other sizes.
    """
    torch.manual_seed(config.schedule.seed)
    if not config.start_from:
        return TextVideoEncoder(config.encoder, vocabulary).to(config.schedule.device)
    folder = SHIPPED if config.start_from == "shipped" else Path(config.start_from)
    encoder, spec = load_text_video(folder, config.schedule.device)
    if spec.encoder != config.encoder:
        raise WeightsError(
            f"start_from: got '{config.start_from}' with {spec.encoder}, expected "
            f"{config.encoder}. Fix: set encoder to the sizes of the one to start from."
        )
    encoder.text = with_words_of(encoder.text, vocabulary)
    return encoder.requires_grad_(True).train()


def make_learner(
    encoder: TextVideoEncoder, config: ContrastiveTrainConfig, world: World
) -> Learner:
    """Prepare an encoder for training, the same on every worker.

    Raises:
        ConfigError: there are more workers than clips in a batch.
    """
    return transformer_learner(
        BothEncoders(encoder, config.autocast),
        config.schedule,
        world,
        accumulate=config.accumulate,
        muon_learning_rate=config.muon_learning_rate,
    )
