"""What every test run shares: quiet Ray, repeatable property tests, and no accelerator demanded."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# Set before anything imports Ray or transformers: both read their environment once.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# A failure has to come back on the next run, so examples are derived from the test, not drawn.
# Wall-clock deadlines say more about a busy machine than about the code.
hypothesis.settings.register_profile("videogen", derandomize=True, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "videogen"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, never fail, what needs an accelerator on a machine that has none."""
    wanting = [item for item in items if item.get_closest_marker("gpu")]
    if wanting and not _has_accelerator():
        for item in wanting:
            item.add_marker(pytest.mark.skip(reason="needs an accelerator; torch sees none"))


def _has_accelerator() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of random weights, small enough to make a clip in milliseconds."""
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
    folder = tmp_path_factory.mktemp("tiny-model")
    save_model(folder, spec, dit, VideoVAE(vae_config), WordEncoder(spec.text, spec.vocabulary))
    return folder
