"""A local Ray that the engine's tests share, and a workload that misbehaves on demand."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from videogen_cluster.session import Cluster, ray_session


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A Ray of four logical CPUs, so that several gangs fit on any machine."""
    with ray_session(num_cpus=4) as found:
        from ray import cloudpickle

        # Test modules cannot be imported by a worker.
        cloudpickle.register_pickle_by_value(sys.modules[__name__])
        yield found


class ToyWorkload:
    """Does what an item's payload says, and notes each start in a file.

    Payload: `steps` of `step_s` seconds; `finish_s` seconds after that; `error` raises so many
    times; `die`, `freeze` (SIGSTOP) and `stall` (no heartbeat) happen in the first so many starts.
    The first `num_sick` processes fail whatever they are given.
    """

    def __init__(self, folder: Path, fail_setup: bool = False, num_sick: int = 0) -> None:
        self.folder = folder
        self.num_sick = num_sick
        self.fail_setup = fail_setup

    def setup(self, context: Any) -> None:
        self.context = context
        self.set_up_at = time.time()
        self.is_sick = self._note("set-up") <= self.num_sick
        if self.fail_setup:
            raise RuntimeError("no such weights")

    def compute(
        self, item: Mapping[str, Any], heartbeat: Callable[[str, int, int], None]
    ) -> Callable[[], dict[str, Any]]:
        begun = time.time()
        start = self._note(item["id"])
        if self.is_sick:
            raise ValueError("no kernel can be launched")
        for step in range(item.get("steps", 2)):
            heartbeat("denoise", step, item.get("steps", 2))
            time.sleep(item.get("step_s", 0.01))
        self._meet(item, start)
        computed = time.time()

        def finish() -> dict[str, Any]:
            time.sleep(item.get("finish_s", 0.0))
            return {
                "id": item["id"],
                "pid": os.getpid(),
                "start": start,
                "attempt": item["attempt"],
                "degrade": item["degrade"],
                "computing": (begun, computed),
                "finishing": (computed, time.time()),
            }

        return finish

    def _meet(self, item: Mapping[str, Any], start: int) -> None:
        """The last rank misbehaves; the others wait for it as they would in a collective."""
        meeting = self.folder / f"{item['id']}.met"
        if self.context.rank == self.context.world_size - 1:
            self._misbehave(item, start)
            meeting.touch()
        # What former gangs met for was before any rank of this one was set up.
        while not (meeting.exists() and meeting.stat().st_mtime >= self.set_up_at):
            time.sleep(0.01)

    def _misbehave(self, item: Mapping[str, Any], start: int) -> None:
        if start <= item.get("error", 0):
            raise ValueError(f"start {start} fails")
        if start <= item.get("memory", 0):
            raise MemoryError
        if start <= item.get("exit", 0):
            sys.exit(3)
        if start <= item.get("die", 0):
            os.kill(os.getpid(), signal.SIGKILL)
        if start <= item.get("freeze", 0):
            os.kill(os.getpid(), signal.SIGSTOP)
        if start <= item.get("stall", 0):
            time.sleep(600)

    def _note(self, item_id: str) -> int:
        path = self.folder / f"{item_id}.{self.context.rank}"
        with path.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return len(path.read_text().splitlines())


@pytest.fixture
def toy(tmp_path: Path) -> Callable[..., ToyWorkload]:
    return lambda **options: ToyWorkload(tmp_path, **options)
