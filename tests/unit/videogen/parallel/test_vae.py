"""A VAE on many ranks gives what it gives on one; the ranks are threads here."""

from __future__ import annotations

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.videogen.parallel.small_vaes import (
    TOLERANCE,
    VAES,
    Threads,
    noise,
    on_ranks,
    small_vae,
)
from videogen.errors import ConfigError
from videogen.models.vae import VideoVAE
from videogen.parallel.vae import ShardedVAE, parallelize_vae

shapes = st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7))


@settings(max_examples=40)
@given(degree=st.integers(1, 4), fold=st.sampled_from([2, 4]), shape=shapes)
def test_decoding_on_ranks_is_decoding_on_one(degree, fold, shape):
    t, h, w = shape
    latents = noise(1, 3, t, h, w)

    first, *others = on_ranks(
        degree, lambda peers: parallelize_vae(VAES[fold], peers).decode(latents)
    )

    torch.testing.assert_close(first, VAES[fold].decode(latents), atol=TOLERANCE, rtol=0)
    assert all(other.shape == (1, 3, 0, 8 * h, 8 * w) for other in others)


@settings(max_examples=25)
@given(degree=st.integers(1, 4), fold=st.sampled_from([2, 4]), shape=shapes)
def test_encoding_on_ranks_is_encoding_on_one(degree, fold, shape):
    t, h, w = shape
    frames = noise(2, 3, 4 * t - 3, 8 * h, 8 * w)
    mean, log_variance = VAES[fold].posterior(frames)

    for found in on_ranks(
        degree, lambda peers: parallelize_vae(VAES[fold], peers).posterior(frames)
    ):
        torch.testing.assert_close(found[0], mean, atol=TOLERANCE, rtol=0)
        torch.testing.assert_close(found[1], log_variance, atol=TOLERANCE, rtol=0)


def test_frames_come_in_order_as_they_are_decoded_and_finished():
    latents = noise(1, 3, 4, 5, 3)
    whole = VAES[4].decode(latents)

    def finish(frames):
        return frames.mul(100).to(torch.int16)

    def work(peers):
        vae = parallelize_vae(VAES[4], peers, finish)
        return list(vae.decode_stream(latents.split([1, 3], dim=2)))

    first, second = on_ranks(2, work)

    assert [chunk.shape[2] for chunk in first] == [1, 4, 4, 4]
    assert [chunk.shape[2] for chunk in second] == [0] * 4
    assert first[0].dtype == torch.int16
    assert (torch.cat(first, dim=2) - finish(whole)).abs().max() <= 1


def test_a_stream_continues_from_its_cache():
    latents = noise(1, 3, 4, 5, 3)

    def work(peers):
        vae, cache = parallelize_vae(VAES[4], peers), {}
        first = list(vae.decode_stream([latents[:, :, :2]], cache))
        return torch.cat([*first, *vae.decode_stream([latents[:, :, 2:]], cache)], dim=2)

    torch.testing.assert_close(on_ranks(3, work)[0], VAES[4].decode(latents), atol=1e-5, rtol=0)


def test_a_reader_that_stops_early_does_not_hold_up_the_others():
    latents = noise(1, 3, 5, 4, 4)

    def work(peers):
        frames = parallelize_vae(VAES[4], peers).decode_stream([latents])
        if peers.rank == 0:
            next(frames)
            frames.close()
            return 1
        return len(list(frames))

    assert on_ranks(3, work) == [1, 5, 5]


def test_each_rank_works_on_its_part_only():
    latents = noise(1, 3, 3, 8, 4)

    def work(peers):
        vae, seen = parallelize_vae(VAES[4], peers), []
        vae.decoder.stem.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[3]))
        list(vae.decode_stream([latents]))
        return seen

    assert on_ranks(3, work) == [[3] * 3, [3] * 3, [2] * 3]


def test_the_vae_itself_stays_as_it_is():
    vae = small_vae()
    latents = noise(1, 3, 3, 4, 4)
    before = vae.decode(latents)

    def work(peers):
        sharded = parallelize_vae(vae, peers)
        sharded.decode(latents)
        return sharded

    sharded = on_ranks(2, work)[0]

    assert type(vae) is VideoVAE and isinstance(sharded, ShardedVAE)
    assert torch.equal(vae.decode(latents), before)
    theirs = dict(sharded.named_parameters())
    assert all(theirs[name] is parameter for name, parameter in vae.named_parameters())


def test_training_is_refused():
    sharded = parallelize_vae(VAES[4], Threads(0, 1, {}))

    with pytest.raises(ConfigError, match="decode_at_once: got a VAE on many ranks"):
        sharded.decode_at_once(noise(1, 3, 1, 2, 2))


def test_threads_that_disagree_would_be_noticed():
    barrier = threading.Barrier(2)

    def work(peers):
        barrier.wait()
        shape = (1,) if peers.rank == 0 else (2,)
        peers.exchange(
            [(torch.zeros(shape), 1 - peers.rank)], [(torch.zeros(shape), 1 - peers.rank)]
        )

    with pytest.raises(AssertionError):
        on_ranks(2, work)
