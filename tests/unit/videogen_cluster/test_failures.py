"""Exceptions become small records of the right class."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch.distributed import DistStoreError

from videogen.errors import (
    ConfigError,
    EncodeError,
    InvalidRequestError,
    MediaError,
    MissingDependencyError,
    NonFiniteError,
    OutputConflictError,
    StorageError,
    VideogenError,
    WeightsError,
)
from videogen_cluster.failures import POLICIES, ErrorClass, classify, describe


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InvalidRequestError("x"), ErrorClass.INVALID_REQUEST),
        (WeightsError("x"), ErrorClass.ENVIRONMENT),
        (ConfigError("x"), ErrorClass.ENVIRONMENT),
        (MissingDependencyError("x"), ErrorClass.ENVIRONMENT),
        (OutputConflictError("x"), ErrorClass.OUTPUT_CONFLICT),
        (StorageError("x"), ErrorClass.STORAGE),
        (OSError(28, "No space left on device"), ErrorClass.STORAGE),
        (NonFiniteError("x"), ErrorClass.NON_FINITE),
        (EncodeError("x"), ErrorClass.ENCODE),
        (MediaError("x"), ErrorClass.ENCODE),
        (MemoryError(), ErrorClass.OUT_OF_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory."), ErrorClass.OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), ErrorClass.OUT_OF_MEMORY),
        (DistStoreError("wait timeout after 1000ms"), ErrorClass.COLLECTIVE),
        (RuntimeError("[/x/gloo/pair.cc:553] Connection closed by peer"), ErrorClass.COLLECTIVE),
        (RuntimeError("shapes do not match"), ErrorClass.UNEXPECTED),
        (VideogenError("x"), ErrorClass.UNEXPECTED),
        (SystemExit(1), ErrorClass.UNEXPECTED),
    ],
)
def test_every_exception_has_a_class(error: BaseException, expected: ErrorClass):
    assert classify(error) is expected


def test_every_class_has_a_policy():
    assert set(POLICIES) == set(ErrorClass)


def test_a_description_is_small_picklable_and_keeps_the_end_of_the_traceback():
    def fail(depth: int) -> None:
        if depth:
            fail(depth - 1)
        raise KeyError("y" * 10_000)

    with pytest.raises(KeyError) as caught:
        fail(300)
    failure = describe(caught.value)
    assert failure.message.startswith("KeyError: ")
    assert failure.traceback.endswith("y'")
    assert len(pickle.dumps(failure)) < 10_000


def test_an_exception_without_a_message_is_named():
    assert describe(MemoryError()).message == "MemoryError"
