from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

from videogen.storage.process import ProcessId

SHOW = """
from videogen.storage.process import ProcessId
print(tuple(vars(ProcessId.current()).values()), flush=True)
input()
"""


def test_this_process_lives() -> None:
    here = ProcessId.current()
    assert here.pid == os.getpid()
    assert here.machine
    assert not here.is_surely_dead()


def test_a_process_that_ended_is_dead_even_before_its_parent_looks() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", SHOW], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    host, pid, machine, started = eval(child.stdout.readline())
    process = ProcessId(host, pid, machine, started)
    assert not process.is_surely_dead()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, not reaped
    assert process.is_surely_dead()
    child.communicate()
    assert process.is_surely_dead()


def test_nothing_is_sure_of_other_machines_or_unknown_processes() -> None:
    here = dataclasses.replace(ProcessId.current(), pid=2**22 + 1)
    assert here.is_surely_dead()
    assert not dataclasses.replace(here, machine="another boot").is_surely_dead()
    assert not dataclasses.replace(here, started="").is_surely_dead()
    assert not ProcessId("host", 1).is_surely_dead()
