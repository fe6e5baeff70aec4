"""Creating is exact whatever becomes of the requests and their answers."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.s3.proxy import FaultProxy
from tests.s3.server import S3Server
from videogen.errors import StorageError
from videogen.storage.s3 import Capabilities, S3Options, S3Storage

MIB = 2**20
SMALL, LARGE = b"frames" * 100, os.urandom(12 * MIB)
FOREVER = float("inf")
ENFORCES = Capabilities(create_only=True, compare_and_swap=True)


def uploads(server: S3Server, storage: S3Storage) -> list[str]:
    found = server.client().list_multipart_uploads(Bucket=server.bucket).get("Uploads", ())
    prefix = storage.uri.removeprefix(f"s3://{server.bucket}/")
    return [upload["Key"] for upload in found if upload["Key"].startswith(prefix)]


@pytest.mark.parametrize("attempts", [1, 3], ids=["own retries", "retries of the library"])
@pytest.mark.parametrize(
    ("fault", "path"),
    [("lose_reply", "x$"), ("lose_request", "x$"), ("truncate_request", "x$")],
)
def test_a_small_create_whose_answer_is_lost_is_ours(
    storage: S3Storage,
    direct: S3Storage,
    fault_proxy: FaultProxy,
    options: S3Options,
    fault: str,
    path: str,
    attempts: int,
) -> None:
    storage = S3Storage(storage.uri, replace(options, max_attempts=attempts), ENFORCES)
    fault_proxy.add(fault, method="PUT", path=path)
    assert storage.create("x", SMALL)
    assert direct.read("x") == SMALL
    assert not storage.create("x", SMALL)
    assert fault_proxy.counts[fault] == 1


def test_a_lost_create_that_another_won_is_not_ours(
    storage: S3Storage, direct: S3Storage, fault_proxy: FaultProxy
) -> None:
    fault_proxy.add("lose_request", method="PUT", before=lambda: direct.create("x", b"theirs"))
    assert not storage.create("x", SMALL)
    assert direct.read("x") == b"theirs"


def test_a_key_that_vanishes_after_the_refusal_is_created_again(
    storage: S3Storage, direct: S3Storage, fault_proxy: FaultProxy
) -> None:
    direct.create("x", b"theirs")
    fault_proxy.add("pass", method="HEAD", before=lambda: direct.delete("x"))
    assert storage.create("x", SMALL)
    assert direct.read("x") == SMALL


@pytest.mark.parametrize(("status", "times"), [(503, 4), (409, 3), (500, 2), (429, 2)])
def test_refusals_that_pass_are_waited_out(
    storage: S3Storage, direct: S3Storage, fault_proxy: FaultProxy, status: int, times: int
) -> None:
    fault_proxy.add("refuse", method="PUT", status=status, code="SlowDown", times=times)
    assert storage.create("x", SMALL)
    assert direct.read("x") == SMALL
    assert fault_proxy.counts[f"refuse {status}"] == times


def test_refusals_that_stay_become_an_error_with_a_remedy(
    storage: S3Storage, fault_proxy: FaultProxy, options: S3Options
) -> None:
    storage = S3Storage(storage.uri, replace(options, give_up_s=0.2), ENFORCES)
    fault_proxy.add("refuse", method="PUT", times=FOREVER)
    with pytest.raises(StorageError, match=r"writing s3://.*/x: got SlowDown .* Fix: wait"):
        storage.create("x", SMALL)


def test_of_sixteen_threads_exactly_one_wins(
    storage: S3Storage, direct: S3Storage, fault_proxy: FaultProxy
) -> None:
    fault_proxy.add("lose_reply", method="PUT", times=FOREVER, probability=0.3)
    barrier = threading.Barrier(16)

    def race(number: int) -> bool:
        barrier.wait()
        return storage.create("x", b"%d" % number)

    with ThreadPoolExecutor(16) as threads:
        wins = list(threads.map(race, range(16)))
    assert wins.count(True) == 1
    assert direct.read("x") == b"%d" % wins.index(True)


def test_two_clients_race_with_lost_answers(
    storage: S3Storage, direct: S3Storage, fault_proxy: FaultProxy
) -> None:
    fault_proxy.add("lose_reply", method="PUT", times=FOREVER, probability=0.5)
    with ThreadPoolExecutor(2) as threads:
        for number in range(20):
            a = threads.submit(storage.create, f"k{number}", b"a")
            b = threads.submit(direct.create, f"k{number}", b"b")
            assert a.result() != b.result()
            assert direct.read(f"k{number}") == (b"a" if a.result() else b"b")


def test_a_large_object_goes_up_in_parts(
    storage: S3Storage, direct: S3Storage, s3_env: S3Server, fault_proxy: FaultProxy
) -> None:
    assert storage.create("x", LARGE, {"clip_id": "c"})
    assert fault_proxy.count("PUT", r"/x\?.*partNumber=") == 3
    assert not storage.create("x", LARGE)
    assert fault_proxy.count("PUT", r"/x\?.*partNumber=") == 3  # it looked before sending again
    assert direct.read("x") == LARGE
    assert direct.metadata("x") == {"clip_id": "c"}
    assert uploads(s3_env, storage) == []


@pytest.mark.parametrize(
    ("fault", "method", "path"),
    [
        ("lose_reply", "POST", r"uploads$"),
        ("lose_reply", "PUT", r"partNumber=2"),
        ("truncate_request", "PUT", r"partNumber=1"),
        ("lose_request", "POST", r"uploadId"),
        ("lose_reply", "POST", r"uploadId"),
    ],
)
def test_a_large_create_survives_one_fault_anywhere(
    storage: S3Storage,
    direct: S3Storage,
    fault_proxy: FaultProxy,
    fault: str,
    method: str,
    path: str,
) -> None:
    fault_proxy.add(fault, method=method, path=path)
    assert storage.create("x", LARGE)
    assert fault_proxy.counts[fault] == 1
    assert direct.read("x") == LARGE


@pytest.mark.parametrize("answer", [412, 404])
def test_a_completion_that_went_through_unheard_is_ours(
    storage: S3Storage, direct: S3Storage, fault_proxy: FaultProxy, answer: int
) -> None:
    code = {412: "PreconditionFailed", 404: "NoSuchUpload"}[answer]
    fault_proxy.add("lose_reply", method="POST", path="uploadId")
    fault_proxy.add("refuse", method="POST", path="uploadId", status=answer, code=code)
    assert storage.create("x", LARGE)
    assert direct.read("x") == LARGE


def test_a_conflict_at_the_completion_sends_the_parts_again(
    storage: S3Storage, direct: S3Storage, s3_env: S3Server, fault_proxy: FaultProxy
) -> None:
    fault_proxy.add("refuse", method="POST", path="uploadId", status=409)
    assert storage.create("x", LARGE)
    assert fault_proxy.count("PUT", r"/x\?.*partNumber=") == 6
    assert uploads(s3_env, storage) == []
    assert direct.read("x") == LARGE


def test_a_large_create_that_another_won_leaves_nothing_behind(
    storage: S3Storage, direct: S3Storage, s3_env: S3Server, fault_proxy: FaultProxy
) -> None:
    fault_proxy.add(
        "pass", method="POST", path="uploadId", before=lambda: direct.create("x", b"theirs")
    )
    assert not storage.create("x", LARGE)
    assert direct.read("x") == b"theirs"
    assert uploads(s3_env, storage) == []


def test_an_upload_that_fails_is_aborted(
    storage: S3Storage, s3_env: S3Server, fault_proxy: FaultProxy
) -> None:
    fault_proxy.add("refuse", path="partNumber=2", status=403, times=FOREVER)
    with pytest.raises(StorageError, match="s3:PutObject"):
        storage.create("x", LARGE)
    assert uploads(s3_env, storage) == []
    assert not storage.exists("x")
