"""From a run to a Ray job: its name, its command, where its manifest lies, what cannot work."""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import os
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from videogen import __path__ as library_path
from videogen.errors import ConfigError, OutputConflictError
from videogen.foreign.address import is_foreign
from videogen.models.digests import file_sha256
from videogen.requests import ClipRequest
from videogen.storage import LocalStorage, Storage, is_remote
from videogen_cluster import __path__ as cluster_path
from videogen_cluster.handshake import code_digest
from videogen_cluster.jobs import ADDRESS_KEY, CODE_KEY, JobRequest, Jobs, JobView
from videogen_pipelines import __path__ as pipelines_path
from videogen_pipelines.manifest import InvalidRow
from videogen_pipelines.redact import redact
from videogen_pipelines.run_record import next_invocation

logger = logging.getLogger(__name__)

Ship = Literal["always", "never"]
INPUTS_PREFIX = "inputs/"
PASSABLE = (
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_PROFILE",
    "AWS_REGION",
)
_SHARED = ("nfs", "cifs", "smb", "lustre", "ceph", "gpfs", "beegfs", "glusterfs", "fuse", "9p")


@dataclass(frozen=True)
class Submission:
    """A run that is to be made on a cluster.

    Attributes:
        storage: where the clips go.
        arguments: those of `generate`, after the word itself.
        environment: variables for the nodes; see `passed_environment`.
        ship: whether the code of this process goes with the job.
        python: the interpreter on the head.
    """

    storage: Storage
    arguments: Sequence[str]
    environment: Mapping[str, str]
    ship: Ship = "always"
    python: str = "python"

    def request(self, jobs: Jobs) -> JobRequest:
        """The job, under an id that no other job of this run has.

        Raises:
            OutputConflictError: a job works on this output already.
            ClusterError: the cluster does not answer.
            StorageError: the output cannot be read.
        """
        # -P: the head may have been started in a folder with packages of the user's own.
        command = [self.python, "-P", "-m", "videogen_pipelines", "generate", *self.arguments]
        return JobRequest(
            id=_free_id(jobs, self.storage),
            entrypoint=shlex.join(command),
            packages=[] if self.ship == "never" else _packages(),
            environment=self.environment,
            metadata={ADDRESS_KEY: jobs.address, CODE_KEY: code_digest()},
        )


def job_prefix(uri: str) -> str:
    """What the ids of all jobs on one output start with."""
    return f"videogen-{hashlib.blake2b(uri.rstrip('/').encode(), digest_size=5).hexdigest()}-"


def find_job(jobs: Jobs, target: str) -> JobView:
    """The job of that id, or the latest one on that output.

    Raises:
        ConfigError: there is none.
        ClusterError: the cluster does not answer.
    """
    from videogen.storage import open_storage

    known = jobs.all()
    named = [job for job in known if job.id == target]
    if not named:
        prefix = job_prefix(open_storage(target).uri)
        named = [job for job in known if job.id.startswith(prefix)]
    if not named:
        raise ConfigError(
            f"job: got '{redact(target)}', expected a job id of the cluster at {jobs.address}, or "
            "an output that was submitted there. Fix: without --address, 'videogen logs' reads the "
            "output itself."
        )
    return named[-1]


def place_manifest(storage: Storage, path: Path, media: Collection[Path] = ()) -> str:
    """Store a manifest under its sha256 in the output; returns its address for the nodes.

    Args:
        media: pictures and videos that its rows name; they lie beside it as they do here.

    Raises:
        ConfigError: media that do not lie below the manifest's folder, or another content of one
            was placed before.
        StorageError: the storage failed.
    """
    digest = file_sha256(path)
    if media:
        for file in sorted(media):
            _place_media(storage, f"{INPUTS_PREFIX}{digest}/", path.absolute().parent, file)
        key = f"{INPUTS_PREFIX}{digest}/{path.name}"
    else:
        kind = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
        key = f"{INPUTS_PREFIX}{digest}{kind}"
    storage.create(key, path)
    return f"{storage.uri.rstrip('/')}/{key}"


def place_file(storage: Storage, path: Path) -> str:
    """Store a picture or video under its sha256 in the output; returns its address for the nodes.

    Raises:
        StorageError: the storage failed.
    """
    key = f"{INPUTS_PREFIX}{file_sha256(path)}{path.suffix}"
    storage.create(key, path)
    return f"{storage.uri.rstrip('/')}/{key}"


def local_media(requests: Iterable[ClipRequest | InvalidRow]) -> set[Path]:
    """Files of this machine that clips start with."""
    addresses = {
        address
        for request in requests
        if isinstance(request, ClipRequest)
        for address in (request.image, request.video)
        if address is not None and not is_remote(address)
    }
    return {Path(address) for address in addresses}


def check_media_move(written: Iterable[ClipRequest | InvalidRow], media: Collection[Path]) -> None:
    """Refuse files that rows name by absolute paths, where nodes would look for them.

    Args:
        written: clips that call what they start with as their rows do.
        media: the same files by their absolute paths.

    Raises:
        ConfigError: there is one.
    """
    for path in sorted(local_media(written)):
        if path in media or str(path).startswith("~"):
            raise ConfigError(
                f"{path}: got an absolute path in a row, expected one that means the same file "
                "on the cluster. Fix: name it by a path that starts at the manifest's folder, use "
                "an s3:// address, or add --shared if every node has the same folders."
            )


def _place_media(storage: Storage, prefix: str, folder: Path, file: Path) -> None:
    inside = os.path.normpath(file)
    if not Path(inside).is_relative_to(folder):
        raise ConfigError(
            f"{file}: got a file outside of {folder}, expected one that can go along with the "
            "manifest. Fix: move it below the manifest's folder and name it by a relative path, "
            "use an s3:// address, or add --shared if every node has the same folders."
        )
    key = f"{prefix}{Path(inside).relative_to(folder).as_posix()}"
    if not storage.create(key, file) and storage.read(key) != file.read_bytes():
        raise ConfigError(
            f"{file}: got another content than when this manifest was submitted before, expected "
            "the same. Fix: restore it, or give it another name in the manifest."
        )


def check_reach(storage: Storage, address: str, *, shared: bool, model: str | None = None) -> None:
    """Refuse a folder of this machine as the output of a cluster elsewhere.

    Args:
        shared: the user says that every node sees the same folders.
        model: a preset, a folder or an address.

    Raises:
        ConfigError: the cluster's nodes cannot write there.
    """
    if shared or _is_loopback(address):
        return
    if model and (is_foreign(model) or Path(model).expanduser().is_dir()):
        logger.warning("--model %s has to be the same folder on every node of %s", model, address)
    if not isinstance(storage, LocalStorage):
        return
    kind = _file_system(storage.root)
    if not kind.startswith(_SHARED):
        raise ConfigError(
            f"--out: got {storage.uri}, a folder on a disk of this machine ({kind}), expected a "
            f"place that the nodes of {address} can write to. Fix: use s3://BUCKET/PREFIX, or add "
            "--shared if every node has the same folder there."
        )
    logger.warning("%s has to be the same folder on every node of %s", storage.uri, address)


def passed_environment(
    names: Sequence[str], environment: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The values of variables that go to the nodes; never credentials, which a dashboard shows.

    Raises:
        ConfigError: a name is not to be passed, not set, or its value holds a password.
    """
    found = os.environ if environment is None else environment
    passed = {}
    for name in names:
        if name not in PASSABLE:
            raise ConfigError(
                f"--env: got {name}, expected one of {', '.join(PASSABLE)}. Fix: give the nodes "
                "their own credentials (instance role, mounted profile); a job's environment is "
                "shown on Ray's dashboard."
            )
        if name not in found:
            raise ConfigError(f"--env: got {name}, which is not set here. Fix: export it first.")
        if redact(found[name], found) != found[name]:
            raise ConfigError(
                f"--env: got a value of {name} with a secret in it, expected none. Fix: take it "
                "out of the address."
            )
        passed[name] = found[name]
    return passed


def _free_id(jobs: Jobs, storage: Storage) -> str:
    prefix = job_prefix(storage.uri)
    before = jobs.of(prefix)
    for job in before:
        if not job.ended:
            raise OutputConflictError(
                f"{storage.uri}: got job {job.id}, which works on it ({job.status}), expected "
                f"none. Fix: follow it with 'videogen logs {job.id} --address {jobs.address} "
                "--follow', or stop it with 'videogen cancel'."
            )
    name = f"{prefix}{next_invocation(storage):04d}"
    again = sum(job.id.startswith(name) for job in before)  # it ended before it wrote anything
    return f"{name}.{again + 1}" if again else name


def _packages() -> list[Path]:
    return [Path(path[0]) for path in (library_path, cluster_path, pipelines_path)]


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _file_system(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The kind of file system that holds `folder`."""
    found = ("", "unknown")
    for line in mounts.read_text(encoding="utf-8").splitlines():
        _, place, kind, *_ = line.split(" ")
        if folder.is_relative_to(place) and len(place) >= len(found[0]):
            found = (place, kind)
    return found[1]
