"""Images and videos that rows start from: where they are, what they hold, whether they can be read.

The content is hashed once per process, so that a file that changes between two runs is another
clip, and one that changes during a run is noticed by the rank that reads it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from videogen.config import shown
from videogen.errors import MediaError, StorageError
from videogen.requests import FieldProblem
from videogen.storage import MissingKeyError, is_remote, open_parent
from videogen.storage.temporary import temporary_folder

Kind = Literal["image", "video"]
DIGESTS = ("image_sha256", "video_sha256")
_A = {"image": "an image", "video": "a video"}
KINDS: tuple[Kind, ...] = ("image", "video")
_known: dict[bytes, bytes | FieldProblem] = {}
"""By kind, place and, of files, size and time: the SHA-256, or why it cannot be used."""


@dataclass(frozen=True)
class MediaPlace:
    """Where a manifest's relative paths start: a folder, or an s3:// prefix."""

    base: str

    @classmethod
    def beside(cls, manifest: str | Path) -> MediaPlace:
        """The place of the files named in `manifest`."""
        name = str(manifest)
        if is_remote(name):
            return cls(name.rpartition("/")[0])
        return cls(str(Path(name).expanduser().absolute().parent))

    def resolve(self, address: str) -> str:
        """An absolute path or an address; what may be relative starts here."""
        if is_remote(address):
            return address
        if is_remote(self.base) and not address.startswith(("/", "~")):
            return f"{self.base}/{address}"
        return str(Path(self.base) / Path(address).expanduser())


def resolve_media(fields: dict[str, Any], place: MediaPlace) -> list[FieldProblem]:
    """Say in `fields` where the image or video of a row is and what its content hashes to.

    Returns:
        What is wrong with them; fields that hold no text are left to who checks types.
    """
    problems: list[FieldProblem] = []
    for kind in KINDS:
        said = fields.get(kind)
        if not isinstance(said, str) or not said:
            continue
        address = _address(kind, said, place)
        found = address if isinstance(address, FieldProblem) else find_media(kind, address)
        if isinstance(found, FieldProblem):
            problems.append(found)
            continue
        name = f"{kind}_sha256"
        if fields.get(name) not in (None, found):
            expected = f"{found}, which {address} has"
            problems.append(FieldProblem(name, shown(fields[name]), expected, "leave it out"))
        fields |= {kind: address, name: found}
    return problems


def _address(kind: Kind, said: str, place: MediaPlace) -> str | FieldProblem:
    """Where a row says that its image or video is, or why nothing can be there."""
    if "://" in said and not is_remote(said):
        return FieldProblem(kind, shown(said), "a path or an s3:// address")
    try:
        address = place.resolve(said)
        if is_remote(address):
            open_parent(address)  # asks nobody, so that what is wrong is the address
    except RuntimeError:  # of `expanduser`
        found = f"{shown(said)}, whose home folder is not known here"
        return FieldProblem(kind, found, "a path", "write it out, without '~'")
    except StorageError as error:
        return replace(FieldProblem.parse(str(error)), field=kind)
    return address


def find_media(kind: Kind, address: str) -> str | FieldProblem:
    """The SHA-256 of a file's content, or why a clip cannot start with it.

    Args:
        address: an absolute path, or an s3:// address.
    """
    signature = f"{kind}\0{address}"
    if not is_remote(address):
        found = _file_at(kind, Path(address))
        if isinstance(found, FieldProblem):
            return found
        signature += f"\0{found.st_size}\0{found.st_mtime_ns}"
    key = hashlib.blake2b(signature.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    if key not in _known:
        _known[key] = _look_at(kind, address)
    found = _known[key]
    return found if isinstance(found, FieldProblem) else found.hex()


def _file_at(kind: Kind, path: Path) -> os.stat_result | FieldProblem:
    """The size and time of a file, or why there is none."""
    try:
        if path.is_file():
            return path.stat()
        found = "a folder" if path.is_dir() else "no such file"
    except OSError as error:  # a name that is too long, a folder that one may not enter
        found = f"which cannot be looked at ({error.strerror})"
    fix = "paths start at the manifest's folder; name a file there, an absolute path or s3://"
    return FieldProblem(kind, f"{str(path)!r}, {found}", _A[kind], fix)


@contextmanager
def media_file(address: str) -> Iterator[Path]:
    """The file at an absolute path, or a copy of the object at an s3:// address while it lasts.

    Raises:
        MissingKeyError: there is no such object.
        StorageError: the object store refuses or fails.
    """
    if not is_remote(address):
        yield Path(address)
        return
    storage, key = open_parent(address)
    with temporary_folder() as folder:
        path = folder / Path(key).name
        storage.download(key, path)
        yield path


def sha256_of_media(path: Path) -> bytes:
    """The SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _look_at(kind: Kind, address: str) -> bytes | FieldProblem:
    try:
        with media_file(address) as path:
            _check(kind, path)
            return sha256_of_media(path)
    except MissingKeyError:
        return FieldProblem(kind, f"{address!r}, no such object", _A[kind], "check the address")
    except (MediaError, OSError):
        found = f"{address!r}, which cannot be decoded"
        return FieldProblem(kind, found, _A[kind], "save or copy it again")


def _check(kind: Kind, path: Path) -> None:
    """Look at the headers; what only decoding can tell is told by the rank."""
    if kind == "image":
        from videogen.media.start import check_picture

        check_picture(path)
    else:
        from videogen.media import probe

        probe(path)
