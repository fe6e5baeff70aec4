"""What is wrong with a configuration, or with where its data lies, is said before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from videogen.errors import ConfigError
from videogen.training.config import (
    DiTTrainConfig,
    LatentPoolConfig,
    ScheduleConfig,
    VAETrainConfig,
)
from videogen.training.contrastive_config import ContrastiveTrainConfig
from videogen.training.distill_config import DistillConfig, TrajectoryPoolConfig
from videogen.training.encoded_clips import ENCODE_FILE, encoded_with

SCHEDULE = ScheduleConfig(num_steps=2, batch_size=2, learning_rate=0.1)
POOL: dict[str, Any] = {
    "num_frames": 17, "initial": 16, "capacity": 32, "fresh_per_step": 1, "share": 1.0,
}  # fmt: skip


def dit(**said: Any) -> DiTTrainConfig:
    pools = (LatentPoolConfig(**POOL),)
    return DiTTrainConfig(**{"schedule": SCHEDULE, "vae_folder": "vae", "pools": pools, **said})


def distill(**said: Any) -> DistillConfig:
    pools = (TrajectoryPoolConfig(**POOL),)
    return DistillConfig(**{"schedule": SCHEDULE, "pools": pools, **said})


@pytest.mark.parametrize("config", [dit, distill, VAETrainConfig, ContrastiveTrainConfig])
def test_worlds_have_to_be_known(config: Any) -> None:
    with pytest.raises(ConfigError, match=r"worlds: got 'narow'.*Did you mean 'narrow'\?"):
        config(schedule=SCHEDULE, worlds=("wide", "narow"))
    with pytest.raises(ConfigError, match="worlds: got none"):
        config(schedule=SCHEDULE, worlds=())


@pytest.mark.parametrize("config,pool", [(dit, LatentPoolConfig), (distill, TrajectoryPoolConfig)])
def test_something_has_to_be_drawn_from_pools(config: Any, pool: Any) -> None:
    with pytest.raises(ConfigError, match="pools: got none"):
        config(pools=())
    for shares in ([0.0, 0.0], [1.0, -0.5]):
        with pytest.raises(ConfigError, match="pools: got the shares"):
            config(pools=tuple(pool(**{**POOL, "share": share}) for share in shares))
    for name in ("initial", "capacity"):
        with pytest.raises(ConfigError, match=f"{name}: got 0"):
            pool(**{**POOL, name: 0})


@pytest.mark.parametrize(
    "emphasis,said",
    [({"spinn": 2.0}, r"Did you mean 'spin'\?"), ({"spin": 0.0}, "emphasis.spin: got 0.0")],
)
def test_emphasis_is_of_motions(emphasis: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        dit(emphasis=emphasis)


def test_windows_are_no_longer_than_their_clips() -> None:
    with pytest.raises(ConfigError, match="window_frames: got 33, expected at most num_frames, 17"):
        LatentPoolConfig(**POOL, kind="continued", window_frames=33)


def test_shares_of_windows_that_go_on_are_shares() -> None:
    with pytest.raises(ConfigError, match=r"goes_on: got 1\.5"):
        TrajectoryPoolConfig(**POOL, goes_on=1.5)


@pytest.mark.parametrize("place", ["shards", "latents/shards", "latents"])
def test_what_clips_were_encoded_with_lies_with_the_shards_or_above(
    place: str, tmp_path: Path
) -> None:
    folder = tmp_path / place
    folder.mkdir(parents=True)
    root = folder.parent if place == "latents/shards" else folder
    (root / ENCODE_FILE).write_text('{"model": "default"}')
    assert encoded_with(folder) == {"model": "default"}
