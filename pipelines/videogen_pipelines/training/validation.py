"""Clips of prompts, made while a model is trained."""

from __future__ import annotations

from pathlib import Path

from videogen.models.protocol import VideoModel


def make_clips(model: VideoModel, prompts: tuple[str, ...], folder: Path, device: str) -> None:
    """Write a clip of each prompt, with the model's own settings and seed 0."""
    import torch
    from torch import nn

    from videogen.generator import VideoGenerator

    if not prompts:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for part in (model.dit, model.vae, model.text):
        if isinstance(part, nn.Module):
            part.to(device)
    pipe = VideoGenerator(model, torch.device(device))
    for index, prompt in enumerate(prompts):
        pipe(prompt, seed=0).save(folder / f"{index:03}.mp4")
