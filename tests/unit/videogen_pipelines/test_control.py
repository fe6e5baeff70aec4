"""Orders to a running coordinator."""

from __future__ import annotations

import pytest

from videogen.errors import StorageError
from videogen.storage import LocalStorage
from videogen_pipelines.control import STOP_KEY, ask_stop, read_stop


def test_nothing_was_asked(storage: LocalStorage):
    assert read_stop(storage) is None


def test_an_order_names_its_invocation_and_who_gave_it(storage: LocalStorage):
    ask_stop(storage, 2)
    asked = ask_stop(storage, 3)
    assert read_stop(storage) == asked
    assert (asked.invocation, " on " in asked.by) == (3, True)


def test_something_else_there_is_no_order(storage: LocalStorage):
    storage.put(STOP_KEY, b"{}")
    with pytest.raises(StorageError, match=r"control/stop.json.*delete it"):
        read_stop(storage)
