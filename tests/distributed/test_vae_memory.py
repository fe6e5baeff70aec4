"""What a rank needs to decode falls with the number of ranks, and with tiles on one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.distributed import vae_jobs
from tests.distributed.memory import can_measure
from tests.distributed.pool import RankPool
from tests.distributed.vae_jobs import NARROW
from videogen.models.cost import decode_peak_bytes
from videogen.parallel.planner_work import part_size

pytestmark = [
    pytest.mark.distributed,
    pytest.mark.skipif(not can_measure(), reason="needs Linux's account of resident memory"),
]

SHAPE = (2, 96, 96)  # 58 times the tokens of the default model's clips
SIDE_PX = 96 * 8
Peaks = Callable[[int, int], list[int]]


@pytest.fixture(scope="module")
def fresh() -> Iterator[RankPool]:
    """Processes that have done nothing yet, so that none has memory to use again."""
    pool = RankPool()
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def peaks(fresh: RankPool) -> Peaks:
    """Bytes of each rank, by the number of ranks and of tiles; each measured once."""
    found: dict[tuple[int, int], list[int]] = {}

    def measured(degree: int, num_tiles: int) -> list[int]:
        if (degree, num_tiles) not in found:
            found[degree, num_tiles] = fresh.run(
                vae_jobs.decode_memory, degree, degree=degree, num_tiles=num_tiles, shape=SHAPE
            )
        return found[degree, num_tiles]

    return measured


@pytest.mark.parametrize("degree", [2, 4])
def test_the_peak_of_every_rank_falls_with_the_degree(peaks: Peaks, degree: int):
    assert max(peaks(degree, 1)) <= 1.15 * peaks(1, 1)[0] / degree


def test_tiles_need_less(peaks: Peaks):
    assert peaks(1, 4)[0] <= 0.5 * peaks(1, 1)[0]


@pytest.mark.parametrize("degree", [1, 2, 4])
def test_the_planner_is_not_far_off(peaks: Peaks, degree: int):
    """It counts tensors; the kernels of a CPU take about as much again for themselves."""
    planned = decode_peak_bytes(NARROW, *part_size(NARROW, SIDE_PX, SIDE_PX, degree))

    assert planned <= max(peaks(degree, 1)) <= 3 * planned
