"""Muon for kernels: directions without a preferred size, and rates that the schedule sets."""

import torch
from torch import nn

from videogen.training.optimizers import (
    KernelMuon,
    make_kernel_optimizers,
    orthogonalised,
    scale_learning_rates,
)


def test_singular_values_come_near_one_and_directions_stay():
    torch.manual_seed(0)
    left, values, right = torch.linalg.svd(torch.randn(24, 60), full_matrices=False)
    spread = left @ torch.diag(values * torch.logspace(0, -1, 24)) @ right
    result = orthogonalised(spread)
    kept = (left.T @ result @ right.T).diagonal()
    assert 0.6 < kept.min() <= kept.max() < 1.3
    torch.testing.assert_close(orthogonalised(spread.T), result.T)


def test_the_size_of_a_gradient_makes_no_difference():
    torch.manual_seed(1)
    gradient = torch.randn(8, 4, 3, 3, 3)
    moved = []
    for size in (1.0, 1e-3):
        kernel = nn.Parameter(torch.zeros(8, 4, 3, 3, 3))
        kernel.grad = gradient * size
        KernelMuon([kernel], lr=0.01).step()
        moved.append(kernel.detach())
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-3, atol=1e-6)
    # The root mean square of an update is about 0.2 times the rate, as AdamW's.
    assert 0.001 < moved[0].square().mean().sqrt() < 0.004


def test_kernels_go_to_muon_and_the_rest_to_adamw():
    network = nn.Sequential(nn.Conv3d(3, 8, 3), nn.SiLU(), nn.Conv3d(8, 3, 3))
    muon, adamw = make_kernel_optimizers(network, 1e-3, 2e-3)
    assert [p.ndim for p in muon.param_groups[0]["params"]] == [5, 5]
    assert [p.ndim for p in adamw.param_groups[0]["params"]] == [1, 1]
    (alone,) = make_kernel_optimizers(network, 1e-3, 0.0)
    assert len(alone.param_groups[0]["params"]) == 4
    scale_learning_rates([muon, adamw], (2e-3, 1e-3), 0.5)
    assert [muon.param_groups[0]["lr"], adamw.param_groups[0]["lr"]] == [1e-3, 5e-4]


def test_it_learns_a_filter():
    torch.manual_seed(2)
    truth, network = nn.Conv2d(1, 4, 3, bias=False), nn.Conv2d(1, 4, 3, bias=False)
    muon = KernelMuon(network.parameters(), lr=0.06)
    losses = []
    for step in range(200):
        scale_learning_rates([muon], (0.06,), 1 - step / 200)
        frames = torch.randn(8, 1, 12, 12)
        loss = (network(frames) - truth(frames)).square().mean()
        network.zero_grad()
        loss.backward()
        muon.step()
        losses.append(loss.item())
    assert losses[-1] < 0.01 * losses[0]
