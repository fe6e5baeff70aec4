"""Signs of life while a pipeline is silent: before its first step and after its last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY_S = 5.0
AT_MOST_S = 1800.0
"""A text encoder or a decoder that takes longer counts as hanging."""


class Pulse:
    """Says again what was said last, every few seconds, unless steps say it themselves.

    Args:
        tell: told (steps done, steps); what it raises comes out of the next `step`.
    """

    def __init__(self, tell: Callable[[int, int], None], total: int) -> None:
        self._tell = tell
        self._total = total
        self._done = 0
        self._is_silent = threading.Event()
        self._ended = threading.Event()
        self._error: BaseException | None = None

    def step(self, done: int, *, is_silent: bool) -> None:
        """So many steps are done; `is_silent` says that no step follows for a while."""
        if self._error is not None:
            raise self._error
        self._done = min(done, self._total)
        self._is_silent.clear()
        self._tell(self._done, self._total)
        if is_silent:
            self._is_silent.set()

    @contextmanager
    def beating(self) -> Iterator[Pulse]:
        """Beat until the block ends; silence is what it begins with."""
        self._is_silent.set()
        thread = threading.Thread(target=self._beat, name="pulse", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()

    def _beat(self) -> None:
        beats, at = 0, -1
        while not self._ended.wait(EVERY_S):
            beats, at = (beats + 1, at) if at == self._done else (0, self._done)
            if not self._is_silent.is_set() or beats * EVERY_S > AT_MOST_S:
                continue
            try:
                self._tell(self._done, self._total)
            except BaseException as error:  # noqa: BLE001 - raised again by the next step
                self._error = error
                return
