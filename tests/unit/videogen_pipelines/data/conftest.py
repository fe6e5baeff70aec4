"""An engine in this process, and small videos with something that moves."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from videogen.media import write_video
from videogen_cluster.failures import describe
from videogen_cluster.listener import Listener
from videogen_cluster.scheduler import Completed, DeadLettered
from videogen_cluster.workload import RankContext, Workload
from videogen_pipelines.config import RunConfig
from videogen_pipelines.engine import Items


@dataclass
class InProcess:
    """Works on items one by one in an order of its own, and can be stopped."""

    stop_after: int | None = None
    order: int = 0
    done: list[str] = field(default_factory=list)

    def __call__(
        self, workload: Workload, config: RunConfig, items: Items, listener: Listener, to_do: int
    ) -> bool:
        workload.setup(RankContext(0, 0, 1, "cpu", 1))
        waiting = list(items)
        assert len(waiting) == to_do
        random.Random(self.order).shuffle(waiting)
        for name, payload in waiting:
            if self.stop_after == len(self.done):
                return True
            item = {**payload, "id": name, "attempt": 1, "degrade": 0}
            try:
                record = workload.compute(item, lambda stage, step, total: None)()
            except Exception as error:  # noqa: BLE001 - as an engine does
                listener.dead_lettered(DeadLettered(name, 1, describe(error)))
            else:
                self.done.append(name)
                listener.completed(Completed(name, 1, record))
        return False


def scene(seed: int, num_frames: int = 12, side: int = 48) -> np.ndarray:
    """A square of some colour that crosses a background of smooth noise, uint8 `t h w c`."""
    import cv2

    dice = np.random.default_rng(seed)
    coarse = dice.integers(0, 255, (4, 4, 3), dtype=np.uint8)
    background = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    frames = np.repeat(background[None], num_frames, 0)
    top, colour = int(dice.integers(4, side - 14)), dice.integers(0, 255, 3)
    for index, frame in enumerate(frames):
        left = 2 + 2 * index
        frame[top : top + 14, left : left + 14] = colour
    return frames


def save_scene(
    path: Path, *seeds: int, num_frames: int = 12, side: int = 48, crf: int = 14
) -> None:
    """A video of one scene after the other."""
    frames = np.concatenate([scene(seed, num_frames, side) for seed in seeds])
    write_video(path, frames, 12, crf=crf)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """A folder of four good videos with captions beside them."""
    folder = tmp_path / "videos"
    for index in range(4):
        save_scene(folder / f"v{index}.mp4", index)
        (folder / f"v{index}.txt").write_text(f"square number {index}\n")
    return folder
