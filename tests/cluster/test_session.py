"""How a Ray of our own ends, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.cluster

# Reads from the kernel what SIGTERM does: Python only knows what it asked for, not what holds.
STOP_RAY = """
import re, signal
from pathlib import Path
from videogen_cluster.session import ray_session

def is_answered():
    caught = re.search(r"SigCgt:\\s*(\\w+)", Path("/proc/self/status").read_text())[1]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)

seen = []
signal.signal(signal.SIGTERM, lambda *_: None)
with ray_session(num_cpus=1):
    import ray
    node = ray._private.worker._global_node
    stop = node.kill_all_processes

    def look_and_stop(*args, **kwargs):
        seen.append(is_answered())  # stdout is Ray's at the moment
        stop(*args, **kwargs)

    node.kill_all_processes = look_and_stop
print("while it stops", *seen)
print("afterwards", is_answered())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_sigterm_is_answered_while_ray_stops_and_afterwards():
    ended = subprocess.run(
        [sys.executable, "-c", STOP_RAY], check=False, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["while it stops True", "afterwards True"]
