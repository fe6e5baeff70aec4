"""Lets threads pass in the order of their numbers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Turns:
    """A gate that callers pass one by one: 0, 1, 2, …, in whatever order they arrive.

    The ranks of a gang must start the same items in the same order, or each would wait in a
    collective for peers that work on another item.
    """

    def __init__(self) -> None:
        self._passing = threading.Condition()
        self._next = 0
        self._is_open = True

    def take(self, turn: int, act: Callable[[], T]) -> T | None:
        """Wait for `turn` and call `act` before the next one passes; None once it is closed."""
        with self._passing:
            self._passing.wait_for(lambda: not self._is_open or self._next == turn)
            if not self._is_open:
                return None
            self._next += 1
            self._passing.notify_all()
            return act()

    def close(self) -> None:
        """Turn everybody away who waits or comes later: the turns before theirs may never come."""
        with self._passing:
            self._is_open = False
            self._passing.notify_all()
