"""What the planner says of a rank must be what ranks do."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.unit.videogen.parallel.small_vaes import VAES, noise, on_ranks
from videogen.models import cost
from videogen.models.config import DiTConfig, VAEConfig
from videogen.parallel import planner_work as work
from videogen.parallel.planner_work import ClipDemand, Degrees
from videogen.parallel.vae import parallelize_vae

KINDS = ("factorized", "joint", "windowed")


def demand(**changes) -> ClipDemand:
    dit = DiTConfig(
        width=64, depth=3, num_heads=4, attention=changes.pop("attention", "factorized")
    )
    clip = ClipDemand(
        dit=dit,
        vae=VAEConfig(),
        num_frames=17,
        height=64,
        width=96,
        num_text_tokens=8,
        num_inference_steps=10,
        is_guided=True,
        dtype=torch.float32,
        num_dit_parameters=1000,
        num_vae_parameters=500,
    )
    return dataclasses.replace(clip, **changes)


@pytest.mark.parametrize("attention", KINDS)
def test_one_rank_does_what_the_model_costs(attention):
    clip, alone = demand(attention=attention), Degrees()

    whole = cost.forward_flops(clip.dit, clip.latent_shape, 8).total
    assert work.rank_flops(clip, alone) == pytest.approx(whole)
    assert work.step_bytes(clip, alone) == 0
    assert work.decode_bytes(clip, alone) >= cost.decode_peak_bytes(clip.vae, 64, 96)
    assert work.denoise_bytes(clip, alone) >= cost.activation_bytes(
        clip.dit, clip.latent_shape, torch.float32
    )


def test_ranks_that_divide_everything_share_evenly():
    clip = demand(num_frames=13)  # 4 latent frames of 24 tokens

    assert work.rank_flops(clip, Degrees(1, 4)) == pytest.approx(
        work.rank_flops(clip, Degrees()) / 4
    )
    joint = demand(attention="joint", num_frames=13)
    by_heads = work.rank_flops(joint, Degrees(1, 4, 4))
    assert by_heads == pytest.approx(work.rank_flops(joint, Degrees()) / 4)
    assert by_heads == work.rank_flops(joint, Degrees(1, 4, 2))


def test_the_busiest_rank_counts():
    clip = demand()  # 5 latent frames of 24 tokens: 4 ranks move 5 frames as 2, 1, 1, 1

    assert work.token_shares(clip, 4) == (0.25, 0.4, "space")
    assert work.rank_flops(clip, Degrees(1, 4)) > work.rank_flops(clip, Degrees()) / 4
    joint = demand(attention="joint")
    assert work.rank_flops(joint, Degrees(1, 3, 3)) > work.rank_flops(joint, Degrees()) / 3


def test_bytes_of_a_forward_follow_the_formulas():
    everything = 5 * 24 * 64 * 4
    latents = 16 * 5 * 8 * 12 * 4

    found = work.forward_bytes(demand(), Degrees(1, 4))
    assert found == pytest.approx(3 * 2 * everything / 4 * 3 / 4 + latents * 3 / 4)
    found = work.forward_bytes(demand(attention="joint"), Degrees(1, 4, 4))
    assert found == pytest.approx(3 * 4 * everything / 4 * 3 / 4 + latents * 3 / 4)
    found = work.forward_bytes(demand(attention="joint"), Degrees(1, 4, 2))
    ring = 3 * (4 * everything / 4 / 2 + 2 * everything / 4)
    assert found == pytest.approx(ring + latents * 3 / 4)


def test_splitting_guidance_sends_one_estimate_a_step():
    clip, latents = demand(), 16 * 5 * 8 * 12 * 4

    assert work.step_bytes(clip, Degrees(2, 1)) == latents
    one = work.forward_bytes(clip, Degrees(1, 2))
    assert work.step_bytes(clip, Degrees(1, 2)) == 2 * one
    assert work.step_bytes(clip, Degrees(2, 2)) == one + latents
    assert work.step_bytes(demand(is_guided=False), Degrees(1, 2)) == one


@pytest.mark.parametrize("fold", [2, 4])
@pytest.mark.parametrize("h,w,degree", [(7, 3, 3), (3, 8, 2), (2, 2, 4), (1, 1, 3)])
def test_borders_sent_are_those_planned(fold, h, w, degree):
    latents = noise(1, 3, 3, h, w)

    def sent(peers):
        list(parallelize_vae(VAES[fold], peers).decode_stream([latents]))
        return peers.sent_bytes["halo"]

    found = on_ranks(degree, sent)

    planned = work.halo_bytes(VAES[fold].config, 9, 8 * h, 8 * w, degree)
    active = sum(size > 0 for size in found) if planned else 0
    assert sum(found) == 2 * planned * max(0, active - 1)
    assert max(found) == (2 if active > 2 else 1) * planned


def test_parts_are_whole_latent_lines_of_the_longer_side():
    assert work.part_size(VAEConfig(), 96, 64, 4) == (24, 64)
    assert work.part_size(VAEConfig(), 72, 96, 4) == (72, 24)
    assert work.part_size(VAEConfig(), 64, 96, 1) == (64, 96)
