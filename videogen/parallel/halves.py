"""The halves of guidance: on two ranks, or each in the shadow of the other's collectives."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from videogen.diffusion.denoiser import Denoiser
from videogen.parallel.communicator import Communicator
from videogen.parallel.mesh import Mesh


class SplitHalves:
    """Evaluates the halves of guidance side by side: conditional on rank 0, unconditional on 1.

    Where a step needs only the conditional half, both ranks compute it, which costs no time, and
    no exchange unless it remembers.

    Args:
        remembers: denoisers use the work of their earlier calls again. Those of rank 1 then count
            for nothing where the conditional half stands alone, because it has not seen all steps.
    """

    def __init__(self, cfg: Communicator, remembers: bool = False) -> None:
        self._cfg = cfg
        self._remembers = remembers

    def __call__(
        self, conditional: Denoiser, unconditional: Denoiser, x: Tensor, sigma: Tensor
    ) -> tuple[Tensor, Tensor]:
        positive, negative = self._exchange((conditional, unconditional)[self._cfg.rank](x, sigma))
        return positive, negative

    def alone(self, conditional: Denoiser, x: Tensor, sigma: Tensor) -> Tensor:
        mine = conditional(x, sigma)
        return self._exchange(mine)[0] if self._remembers else mine

    def _exchange(self, mine: Tensor) -> Tensor:
        """The estimates of both ranks, `2 b ...`."""
        return self._cfg.all_gather(mine[None], (0, (1, 1)), "exchange")


class OverlappedHalves:
    """Evaluates the halves in turns, changing over where an all-to-all has been started.

    So one half computes while the tokens of the other travel. Only one of them runs at a time, and
    they change over at the same places on every rank: collectives keep their order, one stream of
    the GPU does all the computing, and the results are those of one after the other, to the bit.
    Both halves' activations are in memory at once.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._helper = ThreadPoolExecutor(max_workers=1, thread_name_prefix="half")

    def __call__(
        self, conditional: Denoiser, unconditional: Denoiser, x: Tensor, sigma: Tensor
    ) -> tuple[Tensor, Tensor]:
        turns = _Turns()
        self._mesh.meanwhile = turns.change
        try:
            adopted = _in_this_context(lambda: unconditional(x, sigma), x.device)
            negative = self._helper.submit(turns.second, adopted)
            positive = turns.first(lambda: conditional(x, sigma))
            return positive, negative.result()
        finally:
            self._mesh.meanwhile = None

    def alone(self, conditional: Denoiser, x: Tensor, sigma: Tensor) -> Tensor:
        return conditional(x, sigma)


class _Turns:
    """Two threads of which one runs at a time."""

    def __init__(self) -> None:
        self._go = (threading.Semaphore(0), threading.Semaphore(0))
        self._is_over = [False, False]
        self._running = 0

    def first(self, work: Callable[[], Tensor]) -> Tensor:
        """Work that has the first turn; returns when the second is over as well."""
        try:
            return work()
        finally:
            self._end(0)
            if not self._is_over[1]:
                self._go[0].acquire()

    def second(self, work: Callable[[], Tensor]) -> Tensor:
        """Work that waits for its turn."""
        self._go[1].acquire()
        try:
            return work()
        finally:
            self._end(1)

    def change(self) -> None:
        """Let the other go on, until it changes over itself or is over."""
        me = self._running
        if not self._is_over[1 - me]:
            self._running = 1 - me
            self._go[1 - me].release()
            self._go[me].acquire()

    def _end(self, me: int) -> None:
        self._is_over[me] = True
        self._running = 1 - me
        self._go[1 - me].release()


def _in_this_context(work: Callable[[], Tensor], device: torch.device) -> Callable[[], Tensor]:
    """`work` with the modes and the stream of this thread, to be called in another."""
    is_inference, has_grad = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
    stream = torch.cuda.current_stream(device) if device.type == "cuda" else None

    def adopted() -> Tensor:
        with (
            torch.inference_mode(is_inference),
            torch.set_grad_enabled(has_grad),
            torch.cuda.stream(stream),
        ):
            return work()

    return adopted
