"""What can go wrong with an item or a gang, by class, and what each class deserves."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from enum import StrEnum

from videogen.errors import (
    ConfigError,
    InvalidRequestError,
    MediaError,
    MissingDependencyError,
    NonFiniteError,
    OutputConflictError,
    RejectedError,
    StorageError,
    WeightsError,
)

MESSAGE_CHARACTERS = 2_000
TRACEBACK_CHARACTERS = 4_000
_TRACEBACK_FRAMES = 8


class ErrorClass(StrEnum):
    """The reason of a failure, as it is written into records and dead letters."""

    INVALID_REQUEST = "invalid_request"
    ENVIRONMENT = "environment"
    OUTPUT_CONFLICT = "output_conflict"
    OUT_OF_MEMORY = "out_of_memory"
    NON_FINITE = "non_finite"
    REJECTED = "rejected"
    ENCODE = "encode"
    STORAGE = "storage"
    UNEXPECTED = "unexpected"
    RANK_DEATH = "rank_death"
    HANG = "hang"
    COLLECTIVE = "collective"
    PREEMPTION = "preemption"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Policy:
    """How often a class of failure is tried, and at what price.

    `max_attempts` narrows the run's own limit; `backoff` waits before the next attempt, twice as
    long each time; `degrade` asks the next attempt to use less memory; an uncharged failure says
    nothing about the item, so it costs no attempt. A failure that is the `items_own` says nothing
    about the gang.
    """

    max_attempts: int | None = None
    backoff: bool = False
    degrade: bool = False
    charged: bool = True
    items_own: bool = False


# Sampling is deterministic, so NaN comes back unless the hardware slipped: one retry finds out.
POLICIES: dict[ErrorClass, Policy] = {
    ErrorClass.INVALID_REQUEST: Policy(max_attempts=1, items_own=True),
    ErrorClass.ENVIRONMENT: Policy(max_attempts=1),
    ErrorClass.OUTPUT_CONFLICT: Policy(max_attempts=1, items_own=True),
    ErrorClass.OUT_OF_MEMORY: Policy(degrade=True),
    ErrorClass.NON_FINITE: Policy(max_attempts=2),
    ErrorClass.REJECTED: Policy(max_attempts=1, items_own=True),
    ErrorClass.ENCODE: Policy(),
    ErrorClass.STORAGE: Policy(backoff=True),
    ErrorClass.UNEXPECTED: Policy(),
    ErrorClass.RANK_DEATH: Policy(),
    ErrorClass.HANG: Policy(),
    ErrorClass.COLLECTIVE: Policy(),
    ErrorClass.PREEMPTION: Policy(charged=False),
    ErrorClass.CANCELLED: Policy(charged=False),
}


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure, small and picklable: no exception object ever crosses a process.

    Where it is known, it says on which node and in which gang, and for how long nobody had
    noticed: the seconds between the last sign of life and `Failure`. One `while_computing` may
    leave other ranks waiting in a collective.
    """

    error_class: ErrorClass
    message: str
    traceback: str = ""
    node: str | None = None
    gang: int | None = None
    detected_s: float | None = None
    while_computing: bool = False


def classify(error: BaseException) -> ErrorClass:
    """The class of an exception raised by a workload."""
    if isinstance(error, InvalidRequestError):
        return ErrorClass.INVALID_REQUEST
    if isinstance(error, ConfigError | WeightsError | MissingDependencyError):
        return ErrorClass.ENVIRONMENT
    if isinstance(error, OutputConflictError):
        return ErrorClass.OUTPUT_CONFLICT
    if isinstance(error, NonFiniteError):
        return ErrorClass.NON_FINITE
    if isinstance(error, RejectedError):
        return ErrorClass.REJECTED
    if isinstance(error, MediaError):
        return ErrorClass.ENCODE
    if _is_out_of_memory(error):
        return ErrorClass.OUT_OF_MEMORY
    if _is_of_collective(error):
        return ErrorClass.COLLECTIVE
    if isinstance(error, StorageError | OSError):
        return ErrorClass.STORAGE
    return ErrorClass.UNEXPECTED


def describe(error: BaseException) -> Failure:
    """Turn an exception into a record: class, message and the last lines of its traceback."""
    # The last frames say what happened; the first ones are always the same threads of ours.
    lines = "".join(traceback.format_exception(error, limit=-_TRACEBACK_FRAMES))
    message = str(error) if str(error) else type(error).__name__
    if classify(error) is ErrorClass.UNEXPECTED:
        message = f"{type(error).__name__}: {message}"
    return Failure(
        classify(error), message[:MESSAGE_CHARACTERS], lines[-TRACEBACK_CHARACTERS:].strip()
    )


def _is_of_collective(error: BaseException) -> bool:
    """Whether a rank could not talk to the others, as gloo, NCCL and torch's store say it."""
    if any(base.__name__ == "DistError" for base in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and "/gloo/" in str(error)


def _is_out_of_memory(error: BaseException) -> bool:
    # torch is not imported here, so its error is known by name; on a CPU it is a RuntimeError.
    if isinstance(error, MemoryError):
        return True
    if any(base.__name__ == "OutOfMemoryError" for base in type(error).__mro__):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text
    )
