"""Which of several pools each step draws from."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


class Turns:
    """Pools take turns by chance, as often as their shares say; a step's pool is always the same.

    Args:
        shares: of the pools, in order; they need not sum to 1.
    """

    def __init__(self, shares: Iterable[float], seed: int) -> None:
        weights = np.array(list(shares))
        self._shares, self._seed = weights / weights.sum(), seed
        self._next_step = 0
        self.num_draws = [0] * len(weights)
        """How often each pool was drawn from in the steps counted so far."""

    def at(self, step: int) -> tuple[int, np.random.Generator]:
        """Whose turn it is, and the rest of the step's random numbers."""
        rng = np.random.default_rng([self._seed, step])
        return int(rng.choice(len(self._shares), p=self._shares)), rng

    def count(self, stop: int) -> None:
        """Count the draws of the steps before `stop`."""
        while self._next_step < stop:
            self.num_draws[self.at(self._next_step)[0]] += 1
            self._next_step += 1
