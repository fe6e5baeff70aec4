"""`Reporter`: the thread that tells storage how a run stands and hears what storage is told.

It has its own thread because a slow store must not stop the gangs, and because a run should show
signs of life also while it reads a long manifest.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from videogen.errors import StorageError
from videogen.storage import Storage
from videogen_pipelines.control import read_stop
from videogen_pipelines.events import EventLog
from videogen_pipelines.status import State, write_status
from videogen_pipelines.status_board import StatusBoard

logger = logging.getLogger(__name__)

WRITE_S = 5.0
LISTEN_S = 2.0


class Reporter:
    """Writes `status.json` and the event log, and reads `control/`, while its context lasts.

    What it cannot write it says once and tries again; a run never ends because of it. The last
    status is written when the context ends, however it ends.

    Args:
        invocation: the one whose orders count.
        is_ours: whether this process may still write to the run; asked before every status.
    """

    def __init__(
        self,
        storage: Storage,
        invocation: int,
        board: StatusBoard,
        events: EventLog,
        is_ours: Callable[[], bool] = lambda: True,
        write_s: float = WRITE_S,
        listen_s: float = LISTEN_S,
    ) -> None:
        self._storage = storage
        self._invocation = invocation
        self._board = board
        self._events = events
        self._is_ours = is_ours
        self._write_s = write_s
        self._listen_s = listen_s
        self._stop_asked = threading.Event()
        self._closing = threading.Event()
        self._ended: tuple[State, str | None] | None = None
        self._complained: set[str] = set()
        self._thread = threading.Thread(target=self._work, name="reporter", daemon=True)

    @property
    def stop_asked(self) -> bool:
        """Whether somebody asked this invocation to stop."""
        return self._stop_asked.is_set()

    def ended(self, state: State, message: str | None = None) -> None:
        """Say how the run ended; without it, leaving the context says so."""
        self._ended = (state, message)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._thread.join()
        state, message = self._end_of(error)
        self._board.ended(state, message)
        status = self._board.status()
        self._events.add(
            "run_ended",
            state=state,
            done=status.done,
            failed=status.failed,
            pending=status.pending,
            gpu_s=round(status.gpu_s, 3),
            lost_gpu_s=round(status.lost_gpu_s, 3),
            message=message,
        )
        self._write()

    def _end_of(self, error: BaseException | None) -> tuple[State, str | None]:
        if error is None:
            return self._ended or ("complete", None)
        if isinstance(error, KeyboardInterrupt):
            return "interrupted", "stopped at once; the same command continues"
        return "error", f"{type(error).__name__}: {error}"

    def _work(self) -> None:
        next_write = 0.0
        while True:
            self._listen()
            if time.monotonic() >= next_write:
                self._write()
                next_write = time.monotonic() + self._write_s
            if self._closing.wait(min(self._listen_s, self._write_s)):
                return

    def _listen(self) -> None:
        if self.stop_asked:
            return
        try:
            request = read_stop(self._storage)
        except StorageError as error:
            self._complain("reading orders", error)
            return
        if request is not None and request.invocation == self._invocation:
            self._board.asked(request)
            self._events.add("stop_asked", by=request.by)
            self._stop_asked.set()

    def _write(self) -> None:
        try:
            self._events.flush()
        except StorageError as error:
            self._complain("writing the event log", error)
        if not self._is_ours():
            return
        try:
            write_status(self._storage, self._board.status())
        except StorageError as error:
            self._complain("writing the status", error)

    def _complain(self, what: str, error: StorageError) -> None:
        if what not in self._complained:
            self._complained.add(what)
            logger.warning("%s failed, the run goes on and tries again: %s", what, error)
