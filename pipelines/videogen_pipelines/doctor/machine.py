"""Python, memory, shared memory, disks and the limit on open files."""

from __future__ import annotations

import platform
import resource
import shutil
import sys
import tempfile
from pathlib import Path

from videogen.models.digests import CACHE_VARIABLE, cache_folder
from videogen_pipelines.doctor.checks import Family, Finding, Probe, failed, ok, warning

GIB = 2**30
_OLDEST, _FIRST_TOO_NEW = (3, 11), (3, 13)
_MEMORY = (1 * GIB, 3 * GIB)  # failed below, warning below
_SHARED_MEMORY = 128 * 2**20  # Ray's object store of a run
_DISK = (200 * 2**20, 5 * GIB)
_OPEN_FILES = 4096  # below it Ray warns
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def machine_family() -> Family:
    """What every run needs of its machine."""
    return Family(
        "machine",
        (
            Probe("python", check_python),
            Probe("memory", check_memory),
            Probe("shared memory", check_shared_memory),
            Probe("open files", check_open_files),
            Probe("scratch disk", lambda: check_disk(Path(tempfile.gettempdir()), "TMPDIR")),
            Probe("cache disk", lambda: check_disk(cache_folder(), CACHE_VARIABLE)),
        ),
    )


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    found = f"{platform.python_implementation()} {platform.python_version()}"
    if _OLDEST <= version < _FIRST_TOO_NEW:
        return ok(f"{found}, {sys.prefix}")
    return failed(f"got {version[0]}.{version[1]}, expected 3.11 or 3.12", "use python3.11 or 3.12")


def check_memory(available: int | None = None) -> Finding:
    """Memory that is free, less where a container may not have all of it."""
    free = available_memory() if available is None else available
    return _by_size(
        f"{gib(free)} available", free, _MEMORY, "stop other programs or use a larger machine"
    )


def available_memory() -> int:
    """Bytes that a program could still take, as the kernel and the container allow."""
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(fields["MemAvailable"].split()[0]) * 1024
    return min([available, *_container_limits()])


def _container_limits() -> list[int]:
    texts = [path.read_text().strip() for path in _CGROUP_LIMITS if path.is_file()]
    return [int(text) for text in texts if text.isdigit()]


def check_shared_memory(folder: Path = Path("/dev/shm")) -> Finding:  # noqa: S108 - looked at only
    """Ray puts its object store there, and a slower one on the disk where it does not fit."""
    fix = "give the container more: docker run --shm-size=1g, or a memory emptyDir at /dev/shm"
    if not folder.is_dir():
        return warning(f"{folder} is missing", fix)
    free = shutil.disk_usage(folder).free
    found = f"{gib(free)} free in {folder}"
    return ok(found) if free >= _SHARED_MEMORY else warning(found, fix)


def check_open_files(limits: tuple[int, int] | None = None) -> Finding:
    """Ray raises the soft limit itself, up to the hard one."""
    soft, hard = limits or resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return ok(f"{soft:,}, no hard limit")
    found = f"{soft:,}, hard limit {hard:,}"
    if hard >= _OPEN_FILES:
        return ok(found)
    return warning(found, "raise the hard limit to 65536 (ulimit -Hn, limits.conf, LimitNOFILE=)")


def check_disk(folder: Path, variable: str) -> Finding:
    """Space that is free where `folder` is, or will be."""
    free = free_bytes(folder)
    fix = f"free some space, or set {variable} to a folder on a larger disk"
    return _by_size(f"{gib(free)} free for {folder}", free, _DISK, fix)


def free_bytes(folder: Path) -> int:
    """Bytes free on the disk that holds `folder`, which need not exist yet."""
    existing = next(path for path in [folder, *folder.absolute().parents] if path.exists())
    return shutil.disk_usage(existing).free


def _by_size(found: str, size: int, limits: tuple[int, int], fix: str) -> Finding:
    least, enough = limits
    if size < least:
        return failed(f"{found}, expected at least {gib(least)}", fix)
    if size < enough:
        return warning(f"{found}, expected {gib(enough)}", fix)
    return ok(found)


def gib(size: int) -> str:
    """Bytes in GiB: 1610612736 is 1.5 GiB."""
    return f"{size / GIB:,.1f} GiB"
