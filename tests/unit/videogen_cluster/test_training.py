"""Tries of a training: again where a worker was lost, never where every try fails alike."""

from __future__ import annotations

import pytest

from videogen.errors import NonFiniteError, StorageError
from videogen_cluster.training import TrainingError, fit_again


class WorkersFailedError(Exception):
    """As Ray Train raises it; what a worker raised may be wrapped."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__("two workers failed")
        self.worker_failures = dict(enumerate(failures))


class WrappedError(Exception):
    def __init__(self, cause: Exception) -> None:
        super().__init__(f"traceback of {cause}")
        self.cause = cause


def tries(failures: list[Exception], max_failures: int) -> tuple[int, str]:
    """How often it was tried, and what was said in the end."""
    made: list[int] = []

    def fit() -> None:
        made.append(1)
        if failures:
            raise failures.pop(0)

    try:
        fit_again(fit, WorkersFailedError, max_failures)
    except TrainingError as error:
        return len(made), str(error)
    return len(made), ""


@pytest.mark.parametrize("wrap", [WrappedError, lambda error: error])
def test_what_every_try_would_meet_again_ends_it_at_once(wrap):
    lost = RuntimeError("[/gloo/pair.cc] connection closed by peer")
    nan = NonFiniteError("step 7: got a loss of nan")
    assert tries([WorkersFailedError(lost, wrap(nan))], 8) == (1, str(nan))


def test_lost_workers_and_failing_storage_are_tried_again_so_often():
    lost = WorkersFailedError(RuntimeError("a worker died"))
    far = WorkersFailedError(StorageError("the store is away"))
    assert tries([lost, far], 2) == (3, "")
    assert tries([lost, far], 1) == (2, "the store is away")
    assert tries([lost], 0) == (1, "a worker failed: a worker died")
