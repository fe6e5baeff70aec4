"""Symmetric InfoNCE over a batch (Radford et al. 2021, 2103.00020), and how often it is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from videogen.models.text_video import TextVideoEncoder
from videogen.training.contrastive_pairs import PairBatch


@dataclass(frozen=True)
class Vectors:
    """Unit vectors of clips `b d`, and of captions `n d`: first those of the clips, in order."""

    clips: Tensor
    texts: Tensor


def contrastive_loss(vectors: Vectors, scale: Tensor, also_true: Tensor) -> Tensor:
    """Mean of the two cross-entropies: the right caption of a clip, the right clip of a caption.

    Args:
        scale: factor on the cosines.
        also_true: bool `b n`, pairs that are left out, because the caption is true of the clip.
    """
    b = len(vectors.clips)
    logits = (scale * vectors.clips @ vectors.texts.T).masked_fill(also_true, float("-inf"))
    own = torch.arange(b, device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits[:, :b].T, own)) / 2


def with_gradients(rows: Tensor, places: Sequence[int], live: Tensor, factor: float) -> Tensor:
    """Rows with `live` in some places, which has `factor` times the gradient of the result."""
    enlarged = live.detach() + factor * (live - live.detach())
    return rows.index_copy(0, torch.tensor(places, device=rows.device), enlarged)


@torch.no_grad()
def recognised(encoder: TextVideoEncoder, batch: PairBatch, frames: Tensor) -> dict[str, float]:
    """How often the right caption is the nearest of all, and the right clip of all.

    Captions that are true of a clip besides its own are left out, as in training.

    Args:
        frames: of all clips of the batch.
    """
    encoder.eval()
    b = len(batch)
    texts = encoder.encode_text(batch.captions)
    cosines = encoder.encode_video(frames.to(texts.device)) @ texts.T
    cosines = cosines.masked_fill(batch.also_true.to(texts.device), float("-inf"))
    own = torch.arange(b, device=texts.device)
    return {
        "right_caption": float((cosines.argmax(dim=1) == own).float().mean()),
        "right_clip": float((cosines[:, :b].argmax(dim=0) == own).float().mean()),
    }
