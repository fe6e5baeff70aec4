"""Replicas first, then the halves of guidance, then as few more ranks as fit; with reasons."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.unit.videogen.parallel.test_planner_work import demand
from videogen.errors import ConfigError
from videogen.parallel import planner
from videogen.parallel.planner import Goal, check_degrees, estimate_memory, plan
from videogen.parallel.planner_hardware import GB, GPUS
from videogen.parallel.planner_work import ClipDemand, Degrees

H100 = GPUS["h100"]


def large(**changes) -> ClipDemand:
    """Denoising needs much more than decoding."""
    clip = demand(num_frames=81, height=480, width=832, dtype=torch.bfloat16)
    wide = dataclasses.replace(clip.dit, width=2048, num_heads=32, attention="joint")
    return dataclasses.replace(clip, **{"dit": wide, **changes})


def memory_for(clip: ClipDemand, degrees: Degrees) -> int:
    """The least that holds a clip at these degrees."""
    return int(estimate_memory(clip, degrees).peak / (1 - planner.HEADROOM)) + 1


def test_replicas_come_first():
    choice = plan(demand(), H100, Goal(num_gpus=8, num_clips=100))

    assert (choice.best.degrees, choice.best.replicas) == (Degrees(1, 1), 8)
    assert "8 replicas" in choice.reasons[0]


def test_the_smallest_seq_degree_that_fits():
    clip = large()
    gpu = H100.with_memory(memory_for(clip, Degrees(1, 3)))

    choice = plan(clip, gpu, Goal(num_gpus=8, num_clips=100))

    assert choice.reasons[0].startswith("cfg 1 × seq 1 needs")
    assert "cfg 1 × seq 3 is the smallest gang that does: 2 replicas" in choice.reasons
    assert choice.best.replicas == 2


def test_gpus_left_over_by_a_gang_join_it():
    clip = large()
    gpu = H100.with_memory(memory_for(clip, Degrees(1, 3)))

    def chosen(num_gpus: int) -> tuple[int, int, int]:
        best = plan(clip, gpu, Goal(num_gpus=num_gpus, num_clips=100)).best
        return best.degrees.cfg, best.degrees.seq, best.replicas

    assert chosen(3) == (1, 3, 1)
    assert chosen(5) == (1, 5, 1)
    assert chosen(6) == (1, 3, 2)


def test_cfg_comes_before_seq_where_decoding_is_what_does_not_fit():
    clip = demand(height=512, width=512)
    gpu = H100.with_memory(memory_for(clip, Degrees(2, 1)))
    assert memory_for(clip, Degrees(1, 1)) > gpu.memory_bytes

    assert plan(clip, gpu, Goal(num_gpus=4, num_clips=9)).best.degrees == Degrees(2, 1)


def test_what_is_too_slow_gets_a_gang():
    clip = large()
    alone = plan(clip, H100, Goal(num_gpus=8, num_clips=100)).best
    goal = Goal(num_gpus=8, num_clips=100, max_clip_s=0.6 * alone.clip_s)

    choice = plan(clip, H100, goal)

    assert (choice.best.degrees.cfg, choice.best.degrees.seq, choice.best.replicas) == (2, 1, 4)
    assert "too long" in choice.reasons[0]


def test_gpus_that_would_be_idle_make_clips_faster():
    choice = plan(large(), H100, Goal(num_gpus=8, num_clips=2))

    assert choice.best.replicas == 2
    assert (choice.best.degrees.cfg, choice.best.degrees.seq) == (2, 2)
    assert choice.reasons[-1].startswith("6 GPUs would be idle then: cfg 2 × seq 2 makes")


def test_what_does_not_fit_at_all_says_how_much_is_missing():
    gpu = H100.with_memory(GB // 1000)

    with pytest.raises(ConfigError, match=r"gpu_memory: got 0.001 GB, expected at least .* GB"):
        plan(large(), gpu, Goal(num_gpus=8, num_clips=1))
    heavy = large(num_dit_parameters=10**13)
    with pytest.raises(ConfigError, match="weights alone do not fit"):
        plan(heavy, H100, Goal(num_gpus=8, num_clips=1))


def test_what_is_too_slow_at_any_degree_says_how_fast_it_gets():
    with pytest.raises(ConfigError, match="max_clip_s: got 1e-06, expected at least"):
        plan(large(), H100, Goal(num_gpus=8, num_clips=1, max_clip_s=1e-6))


@pytest.mark.parametrize(
    "cfg,seq,message",
    [
        (3, 1, "cfg_degree: got 3, expected 1 or 2, because guidance has two halves. Fix: use 2"),
        (0, 1, "Fix: use 1."),
        (1, 0, "seq_degree: got 0, expected 1 to 8, because a rank is at least one. Fix: use 1"),
        (2, 5, "cfg_degree 2 × seq_degree 5 is 10 ranks of 8 GPUs. Fix: use 4"),
    ],
)
def test_an_illegal_degree_is_explained_with_the_nearest_legal_one(cfg, seq, message):
    with pytest.raises(ConfigError) as caught:
        check_degrees(demand(), 8, cfg, seq)

    assert message in str(caught.value)


def test_a_degree_that_leaves_ranks_without_tokens_is_illegal():
    clip = demand(height=16, width=16)  # 5 frames of one token

    assert check_degrees(clip, 64, 1, 5) == Degrees(1, 5)
    with pytest.raises(ConfigError, match=r"the clip has 5 frames of 1\. Fix: use 5\."):
        check_degrees(clip, 64, 1, 6)


def test_guidance_that_is_off_has_no_halves():
    with pytest.raises(ConfigError, match="guidance_scale 1 needs one half only"):
        check_degrees(demand(is_guided=False), 8, 2, 1)
    candidates = plan(demand(is_guided=False), H100, Goal(num_gpus=4, num_clips=9)).candidates
    assert {each.degrees.cfg for each in candidates} == {1}


def test_heads_that_no_degree_divides_go_by_ring():
    clip = large()  # 32 heads

    assert check_degrees(clip, 64, 1, 8) == Degrees(1, 8, 8)
    assert check_degrees(clip, 64, 1, 64).ulysses == 32
    uneven = dataclasses.replace(clip, dit=dataclasses.replace(clip.dit, width=2000, num_heads=40))
    assert check_degrees(uneven, 64, 1, 32) == Degrees(1, 32, 8)  # 40 = 5 · 8 heads, and 4 groups


def test_memory_falls_with_the_degree():
    peaks = [estimate_memory(large(), Degrees(1, seq, seq)).denoise for seq in (1, 2, 4)]

    assert peaks[1] <= 0.55 * peaks[0]
    assert peaks[2] <= 0.30 * peaks[0]


def test_halves_overlap_where_both_fit():
    clip, goal = large(), Goal(num_gpus=8, num_clips=1)
    roomy = plan(clip, H100, goal).candidates
    tight = H100.with_memory(memory_for(clip, Degrees(1, 2, 2)))

    assert {(c.degrees.cfg, c.degrees.seq > 1) for c in roomy if c.overlap} == {(1, True)}
    by_seq = {c.degrees.seq: c for c in plan(clip, tight, goal).candidates if c.degrees.cfg == 1}
    assert by_seq[2].fits and not by_seq[2].overlap
    assert by_seq[8].fits and by_seq[8].overlap
    assert by_seq[8].memory.denoise == 2 * estimate_memory(clip, by_seq[8].degrees).denoise


def test_weights_that_do_not_fit_are_shared():
    deep = dataclasses.replace(large().dit, depth=40)
    heavy = large(dit=deep, num_dit_parameters=100 * 10**9)  # 200 GB

    choice = plan(heavy, H100, Goal(num_gpus=8, num_clips=100))

    assert choice.best.shared_weights
    assert choice.best.memory.weights < 72 * GB
    assert choice.reasons[-1].startswith("with whole weights") or "idle" in choice.reasons[-1]
    light = plan(large(dit=deep), H100, Goal(num_gpus=8, num_clips=100))
    assert not any(each.shared_weights for each in light.candidates)
    one, shared = (
        next(c for c in found.candidates if c.degrees == choice.best.degrees)
        for found in (light, choice)
    )
    gathered = heavy.dtype.itemsize * heavy.num_dit_parameters
    more = shared.sent_bytes_per_step - one.sent_bytes_per_step
    ranks = shared.degrees.num_ranks
    forwards = 1 if shared.degrees.cfg == 2 else 2
    assert more == pytest.approx(forwards * gathered * (1 - 1 / ranks))


def test_nodes_apart_are_slower():
    near = planner.seconds_per_byte(H100, 8)

    assert near == 1 / H100.near_bytes_per_s
    assert near < planner.seconds_per_byte(H100, 16) < planner.seconds_per_byte(H100, 64)
    assert planner.seconds_per_byte(H100, 64) < 1 / H100.far_bytes_per_s


def test_a_plan_sums_up():
    clip, goal = large(), Goal(num_gpus=8, num_clips=10)
    for each in plan(clip, H100, goal).candidates:
        steps = clip.num_inference_steps * (each.compute_s + each.communicate_s)
        assert each.clip_s == pytest.approx(steps + each.decode_s)
        rounds = -(-10 // each.replicas)
        assert each.total_s == pytest.approx(rounds * each.clip_s)
        assert each.replicas * each.degrees.num_ranks <= 8
