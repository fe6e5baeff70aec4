"""Signs of life while a call waits for somebody else, such as a store that is slow or away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY_S = 5.0
AT_MOST_S = 600.0  # storages give up long before


@contextmanager
def keep_alive(
    beat: Callable[[], None], every_s: float = EVERY_S, at_most_s: float = AT_MOST_S
) -> Iterator[None]:
    """Call `beat` now and every `every_s` seconds from a thread, until the block ends.

    After `at_most_s` it falls silent, so that what never ends still counts as hanging.
    """
    beat()
    ended = threading.Event()

    def tell() -> None:
        for _ in range(int(at_most_s / every_s)):
            if ended.wait(every_s):
                return
            beat()

    thread = threading.Thread(target=tell, name="keep-alive", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
