"""A model small enough to make a clip in milliseconds."""

from __future__ import annotations

from pathlib import Path


def save_tiny_model(folder: Path) -> Path:
    """Write a model of random weights to `folder`; returns it."""
    import torch

    from videogen.models.config import DiTConfig, TextConfig, VAEConfig
    from videogen.models.dit import SpacetimeDiT
    from videogen.models.spec import LatentStatistics, ModelSpec
    from videogen.models.text import WordEncoder
    from videogen.models.vae import VideoVAE
    from videogen.models.weights import save_model

    torch.manual_seed(0)
    dit_config = DiTConfig(in_channels=4, width=24, depth=2, num_heads=2, text_width=12)
    vae_config = VAEConfig(
        latent_channels=4, widths=(8, 8, 8), encoder_blocks=(1, 1, 1), decoder_blocks=(1, 1, 1)
    )
    spec = ModelSpec(
        name="tiny",
        dit=dit_config,
        vae=vae_config,
        text=TextConfig(width=12, depth=1, num_heads=2, max_tokens=8),
        latents=LatentStatistics(mean=(0.1,) * 4, std=(1.5,) * 4),
        sampling={"num_frames": 5, "height": 32, "width": 32, "num_inference_steps": 2},
        vocabulary=("circle", "red"),
    )
    dit = SpacetimeDiT(dit_config)
    for parameter in dit.parameters():
        torch.nn.init.normal_(parameter, std=0.1)  # adaLN-zero starts as a model that says nothing
    save_model(folder, spec, dit, VideoVAE(vae_config), WordEncoder(spec.text, spec.vocabulary))
    return folder
