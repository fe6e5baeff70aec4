"""Counters of collectives: by axis and operation, from any thread."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import torch

from videogen.parallel.counters import Counters, Traffic

CPU = torch.device("cpu")


def test_traffic_adds_up_by_axis_and_operation() -> None:
    counters = Counters()
    for operation, num_bytes in (("switch", 10), ("switch", 5), ("gather", 7)):
        counters.add("seq", operation, num_bytes)
    counters.add("cfg", "exchange", 3)
    assert counters.of("seq") == Traffic(calls=3, bytes=22)
    assert counters.of("seq", "switch") == Traffic(calls=2, bytes=15)
    assert counters.snapshot()["cfg.exchange"] == {"calls": 1, "bytes": 3, "seconds": 0.0}
    counters.reset()
    assert counters.snapshot() == {}


def test_waiting_is_timed_and_is_no_call() -> None:
    counters = Counters()
    started = time.perf_counter()
    with counters.waiting("seq", "switch", CPU):
        time.sleep(0.02)
    traffic = counters.of("seq", "switch")
    assert 0.02 <= traffic.seconds <= time.perf_counter() - started
    assert traffic.calls == 0


def test_no_call_is_lost_among_threads() -> None:
    counters = Counters()
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(lambda: [counters.add("seq", "switch", 1) for _ in range(500)])
    assert counters.of("seq") == Traffic(calls=2000, bytes=2000)
