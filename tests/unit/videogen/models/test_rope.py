"""Rotary embedding: rotations, and dot products that depend on distance alone."""

from __future__ import annotations

import torch

from videogen.models.rope import axis_pairs, rope_angles, rotate


def test_the_axes_share_out_every_pair() -> None:
    for head_width in (4, 10, 32, 64, 72, 128):
        assert sum(axis_pairs(head_width)) == head_width // 2


def test_rotation_keeps_lengths() -> None:
    angles = rope_angles(torch.arange(3), 2, 2, 12, 100.0)
    x = torch.randn(3, 4, 12)
    torch.testing.assert_close(rotate(x, angles.cos(), angles.sin()).norm(dim=-1), x.norm(dim=-1))


def test_dot_products_depend_on_distance_alone() -> None:
    q, k = torch.randn(12), torch.randn(12)

    def score(q_frame: int, k_frame: int) -> float:
        angles = rope_angles(torch.tensor([q_frame, k_frame]), 1, 1, 12, 100.0)[:, 0]
        a, b = (
            rotate(x, angle.cos(), angle.sin()) for x, angle in zip((q, k), angles, strict=True)
        )
        return float(a @ b)

    assert abs(score(5, 2) - score(13, 10)) < 1e-4
    assert abs(score(5, 2) - score(5, 3)) > 1e-3


def test_each_axis_turns_its_own_share() -> None:
    angles = rope_angles(torch.arange(2), 2, 2, 12, 100.0).view(2, 2, 2, 6)
    time, rows, columns = angles.split(axis_pairs(12), dim=-1)
    assert torch.equal(time[0], torch.zeros_like(time[0]))
    assert (time[1] != 0).all()
    assert (rows[:, 1] != 0).all()
    assert (rows[:, 0] == 0).all()
    assert (columns[:, :, 1] != 0).all()
    assert (columns[:, :, 0] == 0).all()
