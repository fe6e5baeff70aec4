"""Checks stand for themselves: what breaks or hangs in one is found there and nowhere else."""

from __future__ import annotations

import threading
import time

import pytest

from videogen.errors import StorageError
from videogen_pipelines.doctor.checks import Family, Finding, Probe, Status, ok, skipped
from videogen_pipelines.doctor.examination import answer, examine, has_failed
from videogen_pipelines.doctor.once import Once


def fine() -> Finding:
    return ok("fine")


def bug() -> Finding:
    raise ZeroDivisionError("a bug")


def refuse() -> Finding:
    raise StorageError("output: got no room, expected some. Fix: free some space.")


def test_an_exception_is_the_failure_of_its_own_check():
    family = Family("f", (Probe("a", fine), Probe("b", bug), Probe("c", fine)))
    checks = examine([family])
    assert [check.status for check in checks] == ["ok", "failed", "ok"]
    assert checks[1].found == "ZeroDivisionError: a bug"
    assert has_failed(checks)


def test_an_error_of_ours_is_split_into_what_was_found_and_its_remedy():
    check = answer("f", Probe("a", refuse))
    assert check.found == "output: got no room, expected some."
    assert check.fix == "free some space."


def test_a_check_that_hangs_fails_and_only_those_behind_it_are_skipped():
    never = threading.Event()
    hung = Family("far", (Probe("a", lambda: ok(str(never.wait()))), Probe("b", fine)), remote=True)
    started = time.monotonic()
    checks = examine([hung, Family("here", (Probe("c", fine),))], limit_s=0.3)
    never.set()
    assert time.monotonic() - started < 5
    assert [(check.name, check.status) for check in checks] == [
        ("a", Status.FAILED),
        ("b", Status.SKIPPED),
        ("c", Status.OK),
    ]
    assert checks[0].found == "no answer in 0 s"


def test_remote_families_run_beside_the_others():
    together = threading.Barrier(3, timeout=10)

    def meet() -> Finding:
        together.wait()
        return fine()

    families = [
        Family(name, (Probe("p", meet),), remote=name.startswith("far"))
        for name in ("here", "far", "far too")
    ]
    checks = examine(families)
    assert [(check.family, check.status) for check in checks] == [
        ("here", "ok"),
        ("far", "ok"),
        ("far too", "ok"),
    ]


def test_local_families_run_in_turn():
    running = threading.Lock()

    def alone() -> Finding:
        assert running.acquire(blocking=False)
        time.sleep(0.01)
        running.release()
        return fine()

    checks = examine([Family(name, (Probe("p", alone),)) for name in "abc"])
    assert {check.status for check in checks} == {Status.OK}


@pytest.mark.parametrize(
    "statuses,expected",
    [(["ok", "warning", "skipped"], False), (["ok", "failed"], True), ([], False)],
)
def test_only_failures_count(statuses: list[str], expected: bool):
    probes = tuple(
        Probe(str(i), lambda status=status: Finding(Status(status), "")) for i, status in
        enumerate(statuses)
    )  # fmt: skip
    assert has_failed(examine([Family("f", probes)])) is expected


def test_secrets_never_reach_what_is_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "planted-token")

    def leak() -> Finding:
        raise RuntimeError(
            "no planted-secret at http://user:pass@host/x?X-Amz-Signature=feed&a=1 planted-token"
        )

    check = answer("f", Probe("a", leak))
    assert check.found == "RuntimeError: no *** at http://***@host/x?X-Amz-Signature=***&a=1 ***"


def test_a_value_is_made_once_also_when_making_it_fails():
    calls: list[int] = []

    def make() -> int:
        calls.append(1)
        raise StorageError("no")

    once = Once(make)
    assert not once.failed
    for _ in range(2):
        with pytest.raises(StorageError):
            once()
    assert once.failed and len(calls) == 1
    assert once.then(lambda _: fine(), "write") == skipped("write failed, see there")
