"""Runs the checks: each for itself, remote ones beside the rest, none longer than the limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future

from videogen.errors import VideogenError
from videogen_pipelines.doctor.checks import Check, Family, Finding, Probe, Status, failed, skipped
from videogen_pipelines.redact import redact

LIMIT_S = 14.0
_BUG = "please report it, with VIDEOGEN_TRACEBACK=1 of the command that fails"
_SILENT = "check the address, the network and the firewall"


def examine(families: Sequence[Family], limit_s: float = LIMIT_S) -> list[Check]:
    """Run all probes and return their checks in order.

    Probes of families that are not remote run one after another; each remote family has a thread
    of its own. What has no answer within `limit_s` failed, and what stood behind it is skipped.
    """
    deadline = time.monotonic() + limit_s
    here = _Lane([family for family in families if not family.remote])
    lanes = [here, *(_Lane([family]) for family in families if family.remote)]
    for lane in lanes:
        lane.start()
    found = {key: check for lane in lanes for key, check in lane.collect(deadline).items()}
    return [found[family.name, probe.name] for family in families for probe in family.probes]


class _Lane:
    """Families whose probes run one after another on one thread."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._work = [
            (family.name, probe, Future[Check]()) for family in families for probe in family.probes
        ]

    def start(self) -> None:
        # A daemon: a probe that hangs must not keep the program from ending.
        threading.Thread(target=self._run, name="doctor", daemon=True).start()

    def collect(self, deadline: float) -> dict[tuple[str, str], Check]:
        """The checks by family and name, waiting until `deadline` for those that still run."""
        found: dict[tuple[str, str], Check] = {}
        reason = failed(f"no answer in {max(0.0, deadline - time.monotonic()):.0f} s", _SILENT)
        for family, probe, future in self._work:
            try:
                check = future.result(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                check = Check(family, probe.name, reason.status, reason.found, reason.fix, 0.0)
                reason = skipped("not reached: a check before it gave no answer")
            found[family, probe.name] = check
        return found

    def _run(self) -> None:
        for family, probe, future in self._work:
            future.set_result(answer(family, probe))


def answer(family: str, probe: Probe) -> Check:
    """The check that `probe` gives; an exception in it is its failure."""
    started = time.monotonic()
    try:
        finding = probe.look()
    except VideogenError as error:
        what, _, fix = str(error).partition(" Fix: ")
        finding = failed(what, fix or "see the message")
    except Exception as error:  # noqa: BLE001 - one check that breaks must not hide the others
        finding = failed(f"{type(error).__name__}: {error}", _BUG)
    return _check(family, probe.name, finding, time.monotonic() - started)


def _check(family: str, name: str, finding: Finding, seconds: float) -> Check:
    found, fix = redact(finding.found.strip()), redact(finding.fix.strip())
    return Check(family, name, finding.status, found, fix, seconds)


def has_failed(checks: Sequence[Check]) -> bool:
    """Whether any of the checks failed; warnings are no failures."""
    return any(check.status is Status.FAILED for check in checks)
