"""Seven samplers as pure functions over one contract, `denoiser(x, sigma) -> denoised`.

All take the same step: along the line from x to an estimate of x0 (`_move`). What tells them apart
is the estimate that they move towards, made from the denoised D:

    euler      D                                ddim       D, trading part of epsilon for new noise
    heun       D averaged with D at the end     ddpm       ddim, as much as the process itself does
    dpmpp_2m   D extrapolated from before       lcm        D, trading all of epsilon for new noise
    unipc      dpmpp_2m, then corrected by D at the end

All of it is said in signal and noise, so each works on variance-preserving and flow models alike.
Coefficients are float64 scalars on the CPU whatever x is. Gradient mode is left alone: sample under
`torch.inference_mode()`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, Unpack

import torch
from torch import Tensor

from videogen.diffusion.denoiser import Denoiser
from videogen.diffusion.steps import Level, SolverOptions, Step, walk
from videogen.registry import Registry

Estimate = tuple[Level, Tensor]


class Solver(Protocol):
    """What all have in common, so that whoever samples need not know which one it is."""

    def __call__(
        self, denoiser: Denoiser, x: Tensor, sigmas: Tensor, **options: Unpack[SolverOptions]
    ) -> Tensor:
        """Carry x along the path, from `sigmas[0]` (standard normal, from scratch) to `sigmas[-1]`.

        Args:
            x: latents of any shape the denoiser takes; shape and dtype are kept.
            sigmas: n + 1 strictly falling values, the last 0.
            options: `path`, and if wanted `noise`, `eta`, `callback`; see `SolverOptions`.

        Raises:
            ConfigError: sigmas do not fall, eta is outside [0, 1], or noise is needed and missing.
        """
        ...


def solve_ddpm(
    denoiser: Denoiser, x: Tensor, sigmas: Tensor, **options: Unpack[SolverOptions]
) -> Tensor:
    """DDPM (Ho et al. 2006.11239, algorithm 2), as ddim at eta 1 (Song et al. 2010.02502, §4.1)."""
    return solve_ddim(denoiser, x, sigmas, **{**options, "eta": 1.0})


def solve_ddim(
    denoiser: Denoiser, x: Tensor, sigmas: Tensor, **options: Unpack[SolverOptions]
) -> Tensor:
    """DDIM with eta (Song et al. 2010.02502, eq. 12 and 16)."""
    for step in walk(sigmas, **options):
        x = _renew(x, step, denoiser(x, step.now.sigma), step.eta**2 * step.renewable)
    return x


def solve_lcm(
    denoiser: Denoiser, x: Tensor, sigmas: Tensor, **options: Unpack[SolverOptions]
) -> Tensor:
    """Multistep consistency sampling (Song et al. 2303.01469, algorithm 1), as LCM uses it.

    Made for models that were distilled to tell x0 at once. Of any other, D is a mean of what x0 may
    be, so clips vary less than the data; but each step looks at D with fresh eyes, and mends more
    of what the steps before have got wrong than any other sampler here.
    """
    for step in walk(sigmas, **options):
        x = _renew(x, step, denoiser(x, step.now.sigma), torch.ones_like(step.renewable))
    return x


def solve_euler(
    denoiser: Denoiser, x: Tensor, sigmas: Tensor, **options: Unpack[SolverOptions]
) -> Tensor:
    """Euler in sigma (Karras et al. 2206.00364, algorithm 1 without its lines 6-8)."""
    for step in walk(sigmas, **options):
        x = _move(x, step.now, step.then, denoiser(x, step.now.sigma))
    return x


def solve_heun(
    denoiser: Denoiser, x: Tensor, sigmas: Tensor, **options: Unpack[SolverOptions]
) -> Tensor:
    """Heun in sigma, two evaluations a step but for the last (Karras et al., algorithm 1)."""
    for step in walk(sigmas, **options):
        now, then = step.now, step.then
        denoised = denoiser(x, now.sigma)
        arrived = _move(x, now, then, denoised)
        if then.sigma > 0:
            # The mean of both slopes, (x - D) / sigma on the straight line, solved for D.
            change = denoiser(arrived, then.sigma) - denoised
            arrived = _move(x, now, then, denoised + now.sigma / (2 * then.sigma) * change)
        x = arrived
    return x


def solve_dpmpp_2m(
    denoiser: Denoiser, x: Tensor, sigmas: Tensor, **options: Unpack[SolverOptions]
) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2211.01095, algorithm 2); its last step is of first order."""
    previous = None
    for step in walk(sigmas, **options):
        denoised = denoiser(x, step.now.sigma)
        x = _predict(x, step, denoised, previous)
        previous = step.now, denoised
    return x


def solve_unipc(
    denoiser: Denoiser, x: Tensor, sigmas: Tensor, **options: Unpack[SolverOptions]
) -> Tensor:
    """UniPC-2 in data prediction, B(h) = e^h - 1 (Zhao et al. 2302.04867, algorithms 1 and 2)."""
    previous, taken = None, None
    for step in walk(sigmas, **options):
        denoised = denoiser(x, step.now.sigma)
        if taken is not None:
            x = _correct(*taken, denoised)
        taken = x, step, denoised, previous
        x = _predict(*taken)
        previous = step.now, denoised
    return x


SOLVERS: Registry[Solver] = Registry(
    "sampler",
    {
        "ddpm": solve_ddpm,
        "ddim": solve_ddim,
        "lcm": solve_lcm,
        "euler": solve_euler,
        "heun": solve_heun,
        "dpmpp_2m": solve_dpmpp_2m,
        "unipc": solve_unipc,
    },
)


def _move(x: Tensor, now: Level, then: Level, estimate: Tensor) -> Tensor:
    """`then.signal * estimate + then.noise * epsilon`, with the epsilon that x and estimate imply.

    Exact while the estimate does not change. It is one Euler step in sigma, and, since
    `then.noise / now.noise * now.signal = then.signal * exp(-h)`, one of DPM-Solver++ as well.
    """
    ratio = then.noise / now.noise
    return ratio * x + (then.signal - ratio * now.signal) * estimate


def _renew(x: Tensor, step: Step, estimate: Tensor, renewed: Tensor) -> Tensor:
    """A step to the estimate that has a share of its noise variance replaced by new noise."""
    kept = replace(step.then, noise=step.then.noise * (1 - renewed).sqrt())
    x = _move(x, step.now, kept, estimate)
    std = step.then.noise * renewed.sqrt()
    return x + std * step.draw().to(x) if std > 0 else x


def _predict(x: Tensor, step: Step, denoised: Tensor, previous: Estimate | None) -> Tensor:
    """A step to the estimate extrapolated to its middle; UniP-2 and DPM-Solver++(2M) agree."""
    if previous is not None and not step.is_last:
        level, before = previous
        denoised = denoised + (denoised - before) / (2 * _ratio(level, step))
    return _move(x, step.now, step.then, denoised)


def _correct(
    x: Tensor, step: Step, denoised: Tensor, previous: Estimate | None, arrived: Tensor
) -> Tensor:
    """UniC: the step taken again from its start, knowing the estimate at its end, `arrived`."""
    change = arrived - denoised
    if previous is None:
        return _move(x, step.now, step.then, denoised + change / 2)
    level, before = previous
    r, h = _ratio(level, step), -step.width
    # The weights of both differences (theorem 3.1 at p = 2), a 2 x 2 system solved by hand: r is
    # infinite after a step from pure noise, which a matrix would turn into NaN.
    b_1 = 1 / h - 1 / h.expm1()
    b_2 = 2 * b_1 / h - 1 / h.expm1()
    weight = (b_1 - b_2) / (1 + r)
    correction = weight / r * (denoised - before) + (b_1 - weight) * change
    return _move(x, step.now, step.then, denoised + correction)


def _ratio(previous: Level, step: Step) -> Tensor:
    """How wide the step before was, in lambda, relative to this one."""
    return (step.now.log_snr - previous.log_snr) / step.width
