"""Muon for the matrices of transformer blocks and for kernels, AdamW for everything else."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from videogen.training.config import ScheduleConfig


def make_optimizers(
    modules: Iterable[nn.Module], schedule: ScheduleConfig, muon_learning_rate: float
) -> list[torch.optim.Optimizer]:
    """Optimizers over all parameters of `modules`.

    Muon (Jordan 2024; updates scaled as in Liu et al. 2502.16982) takes the hidden matrices.
    Embeddings, modulations, input and output layers, biases and norms stay with AdamW.
    """
    matrices, others = [], []
    for module in modules:
        for name, parameter in module.named_parameters():
            hidden = parameter.ndim == 2 and ("blocks." in name or "layers." in name)
            (matrices if hidden and "modulation" not in name else others).append(parameter)
    muon = torch.optim.Muon(
        matrices, lr=muon_learning_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
    )
    adamw = torch.optim.AdamW(
        others, lr=schedule.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    return [muon, adamw]


def make_kernel_optimizers(
    module: nn.Module, learning_rate: float, muon_learning_rate: float
) -> list[torch.optim.Optimizer]:
    """Optimizers of a convolutional network: Muon and AdamW; with a Muon rate of 0 AdamW alone."""
    kernels, others = [], []
    for parameter in module.parameters():
        (kernels if parameter.ndim > 2 and muon_learning_rate else others).append(parameter)
    adamw = torch.optim.AdamW(others, lr=learning_rate, betas=(0.9, 0.99), weight_decay=1e-3)
    return [KernelMuon(kernels, muon_learning_rate), adamw] if kernels else [adamw]


class KernelMuon(torch.optim.Optimizer):
    """Muon (Jordan 2024) for convolution kernels, each taken as a matrix `out, in * taps`.

    Updates are scaled to AdamW's root mean square as in Liu et al. 2502.16982.
    """

    def __init__(self, kernels: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(kernels, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update from the gradients; kernels without one stay as they are."""
        del closure
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.grad is not None:
                    self._update(kernel, group["lr"], group["momentum"])

    def _update(self, kernel: nn.Parameter, rate: float, momentum: float) -> None:
        gradient = kernel.grad
        assert gradient is not None
        state = self.state[kernel]
        mean = state.setdefault("momentum_buffer", torch.zeros_like(gradient))
        mean.lerp_(gradient, 1 - momentum)
        direction = orthogonalised(gradient.lerp(mean, momentum).flatten(1))
        scale = 0.2 * max(direction.shape) ** 0.5
        kernel.add_(direction.view_as(kernel), alpha=-rate * scale)


def orthogonalised(matrix: Tensor, num_steps: int = 5) -> Tensor:
    """A matrix `m n` with its singular values near 1, by the quintic Newton-Schulz iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = x / (x.norm() + 1e-7)
    for _ in range(num_steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


def scale_learning_rates(
    optimizers: Iterable[torch.optim.Optimizer], rates: Iterable[float], factor: float
) -> None:
    """Set each optimizer's learning rate to `factor` times its base rate."""
    for optimizer, rate in zip(optimizers, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = factor * rate
