"""A value that several checks share: made by the first that asks, its failure included."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from videogen_pipelines.doctor.checks import Finding, skipped

T = TypeVar("T")


class Once(Generic[T]):
    """Calls `make` at most once; whoever asks gets its value, or its exception."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._future: Future[T] = Future()

    def __call__(self) -> T:
        if not self._future.done():
            try:
                self._future.set_result(self._make())
            except Exception as error:  # noqa: BLE001 - raised again to everybody who asks
                self._future.set_exception(error)
        return self._future.result()

    @property
    def failed(self) -> bool:
        """Whether it was tried and raised."""
        return self._future.done() and self._future.exception() is not None

    def then(self, look: Callable[[T], Finding], what: str) -> Finding:
        """What `look` finds in the value; skipped if an earlier check failed to make it."""
        return skipped(f"{what} failed, see there") if self.failed else look(self())
