"""The halves of guidance on two ranks: each evaluates one, then they exchange their estimates."""

from __future__ import annotations

from torch import Tensor

from videogen.diffusion.denoiser import Denoiser
from videogen.parallel.communicator import Communicator


class SplitHalves:
    """Evaluates the halves of guidance side by side: conditional on rank 0, unconditional on 1.

    Where a step needs only the conditional half, both ranks compute it, which costs no time and
    no exchange.
    """

    def __init__(self, cfg: Communicator) -> None:
        self._cfg = cfg

    def __call__(
        self, conditional: Denoiser, unconditional: Denoiser, x: Tensor, sigma: Tensor
    ) -> tuple[Tensor, Tensor]:
        mine = (conditional, unconditional)[self._cfg.rank](x, sigma)
        positive, negative = self._cfg.all_gather(mine[None], (0, (1, 1)), "exchange")
        return positive, negative
