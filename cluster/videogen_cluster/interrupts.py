"""Ctrl-C and SIGTERM: the first asks politely, the second does not."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def drain_on_signal(drain: Callable[[], None]) -> Iterator[None]:
    """Call `drain` at the first signal and raise `KeyboardInterrupt` at the second.

    The handlers from before come back at the end. Python lets only the main thread do this; in
    another one, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen = 0

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        if seen > 1:
            raise KeyboardInterrupt
        drain()

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
