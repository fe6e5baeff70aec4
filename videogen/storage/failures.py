"""Turns the operating system's errors into `StorageError`s that say what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from videogen.errors import StorageError
from videogen.storage.base import MissingKeyError

_FIXES = {
    errno.ENOSPC: "free some space or choose another output; what is committed stays valid",
    errno.EDQUOT: "free some of your quota or choose another output",
    errno.EACCES: "choose an output this user may write to, or change its permissions",
    errno.EPERM: "choose an output this user may write to and that supports hard links",
    errno.EROFS: "choose an output on a writable file system",
    errno.ENAMETOOLONG: "choose an output with a shorter path",
    errno.ENOTDIR: "choose an output folder; a part of this path is a file",
    errno.EISDIR: "choose another output; a folder stands where a file is expected",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the system's limit of open files",
    errno.EIO: "check the disk or the network file system",
    errno.ESTALE: "mount the network file system again",
    errno.ENOTSUP: "choose a file system with hard links (ext4, xfs, NFS)",
    errno.ENOSYS: "choose a file system with hard links (ext4, xfs, NFS)",
}


@contextmanager
def storage_errors(action: str, path: Path) -> Iterator[None]:
    """Run a block whose `OSError`s become `StorageError`s about `action` on `path`.

    Raises:
        MissingKeyError: the file is missing, or a link to nothing but itself.
        StorageError: anything else the operating system refused.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise MissingKeyError(
            f"{action} {path}: got no file {error.filename or path}, expected one. Fix: check the "
            "path, or make it again if it was deleted."
        ) from error
    except OSError as error:
        code = error.errno or 0
        if code == errno.ELOOP:
            raise MissingKeyError(
                f"{action} {path}: got a link that leads back to itself, expected a file. Fix: "
                "remove the link, or make it one to a file."
            ) from error
        fix = _FIXES.get(code, "check that the output is mounted, healthy and writable")
        raise StorageError(
            f"{action} {path}: got {errno.errorcode.get(code, 'an error')} "
            f"({error.strerror or error}), expected success. Fix: {fix}."
        ) from error
