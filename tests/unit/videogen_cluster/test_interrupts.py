"""The first signal drains, the second interrupts, and the old handlers come back."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from videogen_cluster.interrupts import drain_on_signal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_drain_first_and_interrupt_then(number: signal.Signals):
    drained = []
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), drain_on_signal(lambda: drained.append(1)):
        os.kill(os.getpid(), number)
        assert drained == [1]
        os.kill(os.getpid(), number)
    assert drained == [1]
    assert signal.getsignal(number) is before


def test_another_thread_changes_no_handler():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def look() -> None:
        with drain_on_signal(lambda: None):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [before]
