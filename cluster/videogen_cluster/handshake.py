"""Driver and ranks must run the same code: what each tells of itself, and how they differ."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import videogen

PACKAGES = ("videogen", "videogen_cluster", "videogen_pipelines")


@dataclass(frozen=True, slots=True)
class Versions:
    """What decides how a process behaves.

    `code` is a digest of the packages' Python files and `origin` the very folder they came from:
    where it is the same, so is the code, even if somebody has edited it since.
    """

    videogen: str
    code: str
    python: str
    torch: str
    ray: str
    origin: str = ""

    @classmethod
    def here(cls) -> Versions:
        """Of this process."""
        return cls(
            videogen=videogen.__version__,
            code=code_digest(),
            python=".".join(platform.python_version_tuple()[:2]),
            torch=_version("torch"),
            ray=_version("ray"),
            origin=_origin(),
        )

    def differences(self, other: Versions) -> list[str]:
        """`name: other's value, expected ours`, for each that differs."""
        ours, theirs = asdict(self), asdict(other)
        compared = ["videogen", "code", "python", "torch", "ray"]
        if self.origin and self.origin == other.origin:
            compared.remove("code")
        return [
            f"{name} {theirs[name]}, expected {ours[name]}"
            for name in compared
            if theirs[name] != ours[name]
        ]


@functools.cache
def code_digest() -> str:
    """First 12 hex digits of the SHA-256 of all Python files of the packages that are installed."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path, name in _sources(package):
            digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _origin() -> str:
    root = Path(videogen.__path__[0])
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    # Containers of one machine may hold other files under the same path.
    return f"{boot}:{root.stat().st_dev}:{root.stat().st_ino}"


def _sources(package: str) -> list[tuple[Path, str]]:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        return []
    root = Path(found.submodule_search_locations[0])
    return [
        (path, f"{package}/{path.relative_to(root).as_posix()}")
        for path in sorted(root.rglob("*.py"))
    ]


def _version(distribution: str) -> str:
    """The public version: builds for a CPU and for a GPU, as in 2.11+cu128, may work together."""
    try:
        return metadata.version(distribution).partition("+")[0]
    except metadata.PackageNotFoundError:
        return "not installed"
