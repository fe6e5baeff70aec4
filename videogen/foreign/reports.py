"""What libraries say while they load, kept instead of printed: some of it is no warning to us."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = ("diffusers", "transformers")
INVENTED = "newly initialized"
"""What both say of weights that a file does not have: they are random then."""


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def kept_reports() -> Iterator[list[str]]:
    """Collect the warnings of `LOGGERS` in the list that this yields, and print none of them."""
    kept = _Kept()
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(log, log.handlers, log.level, log.propagate) for log in loggers]
    for log in loggers:
        log.handlers, log.propagate = [kept], False
        log.setLevel(logging.WARNING)
    try:
        yield kept.messages
    finally:
        for log, handlers, level, propagate in before:
            log.handlers, log.propagate = handlers, propagate
            log.setLevel(level)
