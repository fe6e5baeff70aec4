"""A slow store is no hang, and a call that never ends is one."""

from __future__ import annotations

import threading
import time

import pytest

from videogen_pipelines.keep_alive import keep_alive


def test_it_beats_at_once_and_again_until_the_block_ends():
    beats: list[float] = []
    with keep_alive(lambda: beats.append(time.monotonic()), every_s=0.01):
        while len(beats) < 3:
            time.sleep(0.005)
    heard = len(beats)
    time.sleep(0.05)
    assert len(beats) == heard


def test_it_falls_silent_after_the_time_that_any_call_should_take():
    beats: list[int] = []
    with keep_alive(lambda: beats.append(1), every_s=0.01, at_most_s=0.03):
        while len(beats) < 4:
            time.sleep(0.005)
        time.sleep(0.1)
    assert len(beats) == 4


def test_its_thread_ends_with_a_block_that_fails():
    with pytest.raises(OSError), keep_alive(lambda: None, every_s=60.0):
        raise OSError
    assert "keep-alive" not in [thread.name for thread in threading.enumerate()]
