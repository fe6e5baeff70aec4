"""Ray Jobs: what this process is one of, and a client that says what is wrong in one sentence."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from videogen.storage.temporary import temporary_folder
from videogen_cluster.session import ClusterError

ADDRESS_KEY = "videogen_address"
CODE_KEY = "videogen_code"
_CONFIG_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray sets it, whoever submitted the job
_OVERRIDING = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")  # Ray's client prefers them to its argument
_ENDED = frozenset(["STOPPED", "SUCCEEDED", "FAILED"])
_POLL_S = 0.5
_MAX_RECONNECTS = 20


@dataclass(frozen=True, slots=True)
class ThisJob:
    """The Ray job that this process is; all None outside of one.

    `code` is the digest of the code that it was submitted with, if it has to be that.
    """

    id: str | None = None
    address: str | None = None
    code: str | None = None


def this_job() -> ThisJob:
    """Which Ray job runs this process, and how it was submitted."""
    try:
        metadata = json.loads(os.environ.get(_CONFIG_VARIABLE, "{}")).get("metadata") or {}
    except ValueError:
        return ThisJob()
    return ThisJob(
        metadata.get("job_submission_id"), metadata.get(ADDRESS_KEY), metadata.get(CODE_KEY)
    )


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as the cluster knows it; `exit_code` is that of its program, once it has ended."""

    id: str
    status: str
    message: str
    exit_code: int | None
    started_ms: int

    @property
    def ended(self) -> bool:
        return self.status in _ENDED


@dataclass(frozen=True)
class JobRequest:
    """What to run.

    Attributes:
        id: its name on the cluster, used once.
        entrypoint: a shell command.
        packages: folders of Python packages that come before what the cluster has installed.
        environment: variables for the command and its workers. Anybody who may look at the
            dashboard reads them, so no secret belongs here.
        metadata: read back by `this_job`.
    """

    id: str
    entrypoint: str
    packages: Sequence[Path] = ()
    environment: Mapping[str, str] | None = None
    metadata: Mapping[str, str] | None = None


class Jobs:
    """The jobs of one cluster, through the HTTP address of its head."""

    def __init__(self, address: str) -> None:
        """Connect.

        Raises:
            ClusterError: the address is no http(s) one, nobody answers, or the token is wrong.
        """
        self.address = check_address(address)
        with _one_sentence(self.address):
            self._client = _connect(self.address)

    def submit(self, request: JobRequest) -> None:
        """Start a job.

        Raises:
            ClusterError: the id was used before, or the cluster refuses the job.
        """
        with temporary_folder() as folder:
            environment: dict[str, Any] = {"env_vars": dict(request.environment or {})}
            if request.packages:
                environment["py_modules"] = _staged(request.packages, folder)
            with _one_sentence(self.address):
                self._client.submit_job(
                    entrypoint=request.entrypoint,
                    submission_id=request.id,
                    runtime_env=environment,
                    metadata=dict(request.metadata or {}),
                )

    def all(self) -> list[JobView]:
        """Every job that was submitted, oldest first."""
        with _one_sentence(self.address):
            found = [_view(job) for job in self._client.list_jobs() if job.submission_id]
        return sorted(found, key=lambda job: job.started_ms)

    def of(self, prefix: str) -> list[JobView]:
        """The jobs whose id starts like this, oldest first."""
        return [job for job in self.all() if job.id.startswith(prefix)]

    def get(self, job_id: str) -> JobView:
        with _one_sentence(self.address):
            return _view(self._client.get_job_info(job_id))

    def stop(self, job_id: str) -> None:
        """Send the job SIGTERM, and SIGKILL a few seconds later."""
        with _one_sentence(self.address):
            self._client.stop_job(job_id)

    def logs(self, job_id: str) -> str:
        """All that the job has printed."""
        with _one_sentence(self.address):
            return self._client.get_job_logs(job_id)

    def follow(self, job_id: str, write: Callable[[str], object]) -> JobView:
        """Hand on what the job prints until it has ended; returns how.

        A connection that breaks is made again, and nothing is handed on twice.
        """
        from aiohttp import ClientError

        tail = _Tail(write)
        for _ in range(_MAX_RECONNECTS):
            with contextlib.suppress(RuntimeError, OSError, ClientError):  # the connection broke
                asyncio.run(tail.run(self._client.tail_job_logs(job_id)))
            job = self.get(job_id)
            if job.ended:
                break
            time.sleep(_POLL_S)
        return self._wait(job_id)

    def _wait(self, job_id: str) -> JobView:
        while not (job := self.get(job_id)).ended:
            time.sleep(_POLL_S)
        return job


class _Tail:
    """Hands text on from where it was when the last stream broke: each begins at the beginning."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._written = 0

    async def run(self, stream: Any) -> None:
        skip = self._written
        async for text in stream:
            new = text[skip:]
            skip = max(0, skip - len(text))
            self._written += len(new)
            if new:
                self._write(new)


def check_address(address: str) -> str:
    """The address of a head's job server without what follows it.

    Raises:
        ClusterError: it is no http(s) address, or holds a password.
    """
    parts = urlsplit(address if "://" in address else f"http://{address}")
    if parts.username or parts.password:
        raise ClusterError(
            f"address: got one with a user name or password for {parts.hostname}, expected none, "
            "because addresses are written into records. Fix: use RAY_AUTH_TOKEN."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClusterError(
            f"address: got '{address}', expected that of the head's dashboard. Fix: use "
            "http://HEAD:8265."
        )
    return f"{parts.scheme}://{parts.netloc}"


def _connect(address: str) -> Any:
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    for name in ("dashboard_sdk", "job.sdk"):
        logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.WARNING)
    with _without(_OVERRIDING):
        try:
            return JobSubmissionClient(address)
        except AuthenticationError:
            token = _token()
            if token is None:
                raise
            # Ray's client sends a token only where RAY_AUTH_MODE says so.
            return JobSubmissionClient(address, headers={"Authorization": f"Bearer {token}"})


def _token() -> str | None:
    """The token of this user, where Ray looks for it."""
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    said = os.environ.get("RAY_AUTH_TOKEN_PATH", "").strip()
    path = Path(said) if said else Path("~/.ray/auth_token").expanduser()
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


@contextlib.contextmanager
def _without(names: Sequence[str]) -> Iterator[None]:
    taken = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(taken)


@contextlib.contextmanager
def _one_sentence(address: str) -> Iterator[None]:
    """Turn what Ray's client raises into a `ClusterError`."""
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError as error:
        found = "a token it does not know" if "Forbidden" in str(error) else "no token"
        raise ClusterError(
            f"Ray at {address}: got {found}, expected the cluster's own. Fix: put the token of the "
            "head (made there by 'ray get-auth-token --generate') into RAY_AUTH_TOKEN or "
            "~/.ray/auth_token here."
        ) from None  # the cause quotes what was sent
    except (OSError, ConnectionError) as error:
        raise ClusterError(
            f"Ray at {address}: got no answer ({type(error).__name__}), expected the job server of "
            "a head. Fix: check the address and that the head was started with its dashboard "
            "(ray[default]); forward the port if it listens on loopback only."
        ) from error
    except (RuntimeError, ValueError) as error:
        raise ClusterError(f"Ray at {address}: got {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"'{lines[-1].strip()}'" if lines else type(error).__name__


def _staged(packages: Sequence[Path], folder: Path) -> list[str]:
    """Copies without what Python leaves behind, so that the same code has the same name there."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
    return [
        str(shutil.copytree(package, folder / package.name, ignore=ignored)) for package in packages
    ]


def _view(job: Any) -> JobView:
    return JobView(
        id=job.submission_id,
        status=str(job.status),
        message=job.message or "",
        exit_code=job.driver_exit_code,
        started_ms=job.start_time or 0,
    )
