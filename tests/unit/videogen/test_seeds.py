"""Seeds and noise depend on names and indices alone."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from videogen.seeds import MAX_SEED, frame_noise, request_id_from_content, seed_from_id


@given(seed=st.integers(0, MAX_SEED), first=st.integers(0, 9), count=st.integers(1, 5))
def test_a_frame_is_the_same_in_every_range(seed: int, first: int, count: int) -> None:
    whole = frame_noise(seed, 2, 3, 4, 0, 14)
    assert torch.equal(frame_noise(seed, 2, 3, 4, first, count), whole[:, first : first + count])


def test_noise_is_standard_normal_and_differs_by_key() -> None:
    noise = frame_noise(1, 16, 32, 32, 0, 8)
    assert abs(float(noise.mean())) < 0.01
    assert abs(float(noise.std()) - 1.0) < 0.01
    assert not torch.equal(noise[:, 0], noise[:, 1])
    for other in (frame_noise(2, 16, 32, 32, 0, 8), frame_noise(1, 16, 32, 32, 0, 8, "step-1")):
        assert abs(float((noise * other).mean())) < 0.01


def test_drawing_noise_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    frame_noise(1, 2, 3, 4, 0, 2)
    assert torch.equal(torch.rand(3), expected)


def test_seeds_of_ids_are_fixed_for_ever() -> None:
    assert seed_from_id("clip-1") == 2_195_367_607_465_715_238
    assert len({seed_from_id(f"clip-{i}") for i in range(1000)}) == 1000
    assert all(0 <= seed_from_id(str(i)) <= MAX_SEED for i in range(100))


def test_ids_come_from_content_not_from_order_of_fields() -> None:
    a = request_id_from_content({"prompt": "x", "fps": 8})
    assert a == request_id_from_content({"fps": 8, "prompt": "x"})
    assert a != request_id_from_content({"prompt": "x", "fps": 9})
    assert request_id_from_content({"prompt": "x", "fps": 8}, occurrence=2) == f"{a}-3"
