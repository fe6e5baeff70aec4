"""The lease in a real server, with networks that break and coordinators that die."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.s3.proxy import FaultProxy
from tests.s3.server import S3Server
from videogen.errors import StorageError
from videogen.storage import LockLostError
from videogen.storage.s3 import Capabilities, S3Options, S3Storage

FOREVER = float("inf")
HOLD = """
import sys, time
from videogen.storage.s3 import S3Options, S3Storage
with S3Storage(sys.argv[1], S3Options(renew_s=0.1, ttl_s=float(sys.argv[2]))).lock():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def patient(storage: S3Storage, options: S3Options) -> S3Storage:
    """Renews quickly, but gives silent holders a minute."""
    return S3Storage(storage.uri, replace(options, ttl_s=60), storage.probe())


@pytest.fixture
def holder(patient: S3Storage) -> Iterator[subprocess.Popen]:
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, patient.uri, "60"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_holder_is_refused_and_told_who_holds_it(
    holder: subprocess.Popen, patient: S3Storage
) -> None:
    with (
        pytest.raises(StorageError, match=rf"process {holder.pid} on .* \(since 20.* Fix: wait"),
        patient.lock(),
    ):
        pass


def test_a_killed_holder_of_this_machine_is_replaced_at_once(
    holder: subprocess.Popen, patient: S3Storage
) -> None:
    holder.kill()
    started = time.monotonic()
    with patient.lock() as lock:
        assert time.monotonic() - started < 5
        lock.check()


def test_a_dead_holder_elsewhere_is_replaced_after_its_time(
    storage: S3Storage, options: S3Options
) -> None:
    with storage.lock():
        record = json.loads(storage.read("lease.json"))
    record["process"]["machine"] = "another"
    storage.put("lease.json", json.dumps({**record, "held": True}).encode())
    started = time.monotonic()
    with storage.lock() as lock:
        assert time.monotonic() - started >= options.ttl_s
        lock.check()


def test_a_holder_without_network_sees_itself_lost_before_anybody_takes_over(
    storage: S3Storage,
    direct: S3Storage,
    s3_env: S3Server,
    fault_proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost_at: list[float] = []
    with storage.lock() as lock:

        def look() -> None:
            try:
                while True:
                    lock.check()
                    time.sleep(0.005)
            except LockLostError:
                lost_at.append(time.monotonic())

        fault_proxy.cut()
        watcher = threading.Thread(target=look)
        watcher.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3_env.endpoint)
        with direct.lock() as taken:
            taken_at = time.monotonic()
            watcher.join()
            assert lost_at[0] < taken_at
            fault_proxy.mend()
            time.sleep(0.3)
            taken.check()
            with pytest.raises(LockLostError, match="Fix: "):
                lock.check()
    with storage.lock():
        pass


def test_a_short_break_of_the_network_costs_nothing(
    storage: S3Storage, fault_proxy: FaultProxy
) -> None:
    with storage.lock() as lock:
        fault_proxy.cut()
        time.sleep(0.4)
        fault_proxy.mend()
        time.sleep(1.6)
        lock.check()


def test_bad_weather_costs_nothing(patient: S3Storage, fault_proxy: FaultProxy) -> None:
    fault_proxy.add_weather(0.4, delay_s=0.05)
    with patient.lock() as lock:
        time.sleep(1.5)
        lock.check()
    fault_proxy.clear()
    with patient.lock(wait=False):
        pass


def test_of_eight_that_want_it_one_gets_it(patient: S3Storage) -> None:
    got, enough = [], threading.Barrier(8)

    def want(number: int) -> str:
        enough.wait()
        try:
            with patient.lock():
                got.append(number)
                time.sleep(1.5)
        except StorageError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(8) as threads:
        messages = list(threads.map(want, range(8)))
    assert len(got) == messages.count("") == 1


def test_other_names_are_other_locks(storage: S3Storage) -> None:
    with storage.lock(), storage.lock(".results"):
        assert list(storage.list()) == ["lease.json", "results.lease.json"]


def test_without_compare_and_swap_it_does_what_it_can(
    storage: S3Storage, options: S3Options, caplog: pytest.LogCaptureFixture
) -> None:
    none = Capabilities(create_only=False, compare_and_swap=False)
    weak = S3Storage(storage.uri, replace(options, ttl_s=60), none)
    with weak.lock() as lock:
        assert "best effort" in caplog.text
        time.sleep(0.3)
        lock.check()
        with pytest.raises(StorageError, match="is writing to"), weak.lock():
            pass
        lock.check()
    with weak.lock(wait=False):
        pass
