"""What every test run shares: quiet Ray, repeatable property tests, and no accelerator demanded."""

from __future__ import annotations

import os

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
