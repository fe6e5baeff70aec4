"""Keeps Ray's messages about its processes off standard output, where results for machines go."""

from __future__ import annotations

import contextlib
import io
import logging

logger = logging.getLogger(__name__)


class _Log(io.TextIOBase):
    """A stream whose lines are log records; the run itself says what they mean for it."""

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        for line in text.splitlines():
            if line.strip():
                logger.info("%s", line.rstrip())
        return len(text)


def quiet_stdout() -> contextlib.AbstractContextManager[object]:
    """Log what is printed to standard output meanwhile.

    Ray prints the deaths of workers and nodes there from a thread of its own, whatever it was told
    about logging.
    """
    return contextlib.redirect_stdout(_Log())
