"""What ranks send is what the formulas say, to the byte, and work is shared out evenly."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.distributed import jobs
from tests.distributed.cases import CHANNELS, Case, count_flops, make_dit
from tests.distributed.pool import RankPool
from videogen.parallel.shards import divide

pytestmark = pytest.mark.distributed

FLOAT_BYTES = 4
EVALUATIONS = 2  # a guided step takes two forwards


def all_tokens_bytes(case: Case) -> int:
    """M, the bytes of `b t s d`."""
    width = case.num_heads * case.head_width
    return case.batch * case.t * case.h * case.w * width * FLOAT_BYTES


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_dynamic_sequence_parallelism_sends_a_quarter_of_ulysses(
    ranks: RankPool, degree: int
) -> None:
    """A pair sends 2 M/N (N-1)/N bytes a rank; Ulysses on two attentions four times that."""
    case = Case(num_heads=12, head_width=2, depth=1, batch=2, t=12, h=3, w=4, seq_degree=degree)
    two_attentions = replace(case, attention="joint", depth=2)
    expected = EVALUATIONS * 2 * all_tokens_bytes(case) * (degree - 1) // degree**2
    switched = ranks.run(jobs.traffic, degree, case=case)
    traded = ranks.run(jobs.traffic, degree, case=two_attentions)
    for switches, trades in zip(switched, traded, strict=True):
        assert switches["seq.switch"]["bytes"] == expected
        assert switches["seq.switch"]["calls"] == EVALUATIONS * 2
        assert switches["seq.switch"]["bytes"] <= trades["seq.ulysses"]["bytes"] / 4
        assert set(switches) == {"seq.switch", "seq.gather"}
        assert set(trades) == {"seq.ulysses", "seq.gather"}


def test_uneven_shares_send_no_padding(ranks: RankPool) -> None:
    case = Case(depth=3, t=5, h=1, w=7, seq_degree=4)
    stays = sum(t * s for t, s in zip(divide(5, 4), divide(7, 4), strict=True)) / 35
    expected = EVALUATIONS * case.depth * 2 * all_tokens_bytes(case) * (1 - stays)
    sent = [one["seq.switch"]["bytes"] for one in ranks.run(jobs.traffic, 4, case=case)]
    assert sum(sent) == pytest.approx(expected, abs=0.5)


def test_the_result_is_gathered_once(ranks: RankPool) -> None:
    case = Case(t=4, h=2, w=4, seq_degree=4)
    patches = case.t * case.h * case.w * CHANNELS * FLOAT_BYTES
    for one in ranks.run(jobs.traffic, 4, case=case):
        assert one["seq.gather"]["calls"] == EVALUATIONS
        assert one["seq.gather"]["bytes"] == EVALUATIONS * patches // 4 * 3


def test_a_ring_passes_keys_and_values_all_around(ranks: RankPool) -> None:
    case = Case(attention="joint", num_heads=1, depth=1, t=4, h=2, w=2, seq_degree=4)
    for one in ranks.run(jobs.traffic, 4, case=case):
        assert one["seq.ring"]["calls"] == EVALUATIONS * 3
        assert one["seq.ring"]["bytes"] == EVALUATIONS * 3 * 2 * all_tokens_bytes(case) // 4


def test_halves_on_two_ranks_exchange_one_estimate(ranks: RankPool) -> None:
    case = Case(cfg_degree=2, t=3, h=2, w=2)
    for one in ranks.run(jobs.traffic, 2, case=case):
        estimate = CHANNELS * 3 * 2 * 2 * FLOAT_BYTES
        assert one.keys() == {"cfg.exchange"}
        assert one["cfg.exchange"]["calls"] == 1
        assert one["cfg.exchange"]["bytes"] == estimate


@pytest.mark.parametrize("attention", ["factorized", "joint"])
@pytest.mark.parametrize("degree", [2, 3, 4])
def test_work_is_shared_out_evenly(ranks: RankPool, attention: str, degree: int) -> None:
    """Ranks differ by at most a frame's share, and do not repeat each other's work."""
    case = Case(attention=attention, num_heads=12, head_width=4, t=5, h=5, w=7, seq_degree=degree)
    alone = count_flops(case, make_dit(case))
    found = ranks.run(jobs.flops, degree, case=case)
    assert max(found) - min(found) <= alone / case.t
    assert sum(found) <= 1.1 * alone
