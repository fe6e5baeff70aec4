"""Names a process so that others on its machine can tell for certain that it is dead."""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessId:
    """A process: `machine` is its boot and its namespace of process ids, `started` its start."""

    host: str
    pid: int
    machine: str = ""
    started: str = ""

    @classmethod
    def current(cls) -> ProcessId:
        """This process."""
        pid = os.getpid()
        return cls(socket.gethostname(), pid, _machine(), _started(pid) or "")

    def is_surely_dead(self) -> bool:
        """Whether it ran here, where its id would be seen, and is gone. False when in doubt."""
        if not self.machine or not self.started or self.machine != _machine():
            return False
        return _started(self.pid) != self.started


def _machine() -> str:
    """Differs between boots and between containers; "" where it cannot be known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        namespace = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    return hashlib.blake2b(f"{boot}{namespace}".encode(), digest_size=8).hexdigest()


def _started(pid: int) -> str | None:
    """When `pid` started, in ticks since the boot; None if there is no living process of it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
