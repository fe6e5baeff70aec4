"""How a page finds the clips: by relative links, which work from disk and from any web server."""

from __future__ import annotations

import os.path
import posixpath
from urllib.parse import quote

from videogen.errors import ConfigError
from videogen.storage import is_remote


def relative_base(report_uri: str, clips_uri: str) -> str | None:
    """The relative link from a page in `report_uri` to `clips_uri`, ending in "/" unless empty.

    Returns:
        None where no relative link leads there, as from a disk to an object store.
    """
    if is_remote(report_uri) != is_remote(clips_uri):
        return None
    if not is_remote(report_uri):
        path = os.path.relpath(clips_uri, report_uri)
        return _base(path.replace(os.sep, "/"))
    (bucket, here), (other, there) = _split(report_uri), _split(clips_uri)
    return _base(posixpath.relpath(f"/{there}", f"/{here}")) if bucket == other else None


def check_base(report_uri: str, clips_uri: str) -> str:
    """The same where there has to be one.

    Raises:
        ConfigError: no relative link leads there.
    """
    base = relative_base(report_uri, clips_uri)
    if base is None:
        raise ConfigError(
            f"--to: got '{report_uri}', expected a place from which a relative link leads to the "
            f"clips in '{clips_uri}'. Fix: add --copy, which puts the clips into the report."
        )
    return base


def _base(path: str) -> str:
    return "" if path == "." else f"{quote(path)}/"


def _split(uri: str) -> tuple[str, str]:
    bucket, _, prefix = uri.partition("://")[2].partition("/")
    return bucket, prefix.strip("/")
