"""`Bundle`, the files of a report: pages that ship with the package, and data they load as scripts.

A page opened from disk may not fetch files, but it may load scripts. Each holds one call with one
string of JSON: nothing in it is read as code, whatever prompts and ids say.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterator
from typing import Any

from videogen.storage import Storage

DATA_PREFIX = "data/"
INDEX = "index.html"
_ASSETS = importlib.resources.files("videogen_pipelines.report") / "assets"


class Bundle:
    """The report below one storage."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._written: set[str] = set()

    def write_data(self, name: str, value: Any) -> None:
        """Store `value`, JSON types only, as `data/{name}.js`."""
        key = f"{DATA_PREFIX}{name}.js"
        self.storage.put(key, as_script(name, value).encode())
        self._written.add(key)

    def finish(self) -> str:
        """Store the pages, the index last, and remove data of an earlier report.

        Returns:
            Where the index is.
        """
        for key in list(self.storage.list(DATA_PREFIX)):
            if key not in self._written:
                self.storage.delete(key)
        for name, content in sorted(assets(), key=lambda asset: asset[0] == INDEX):
            self.storage.put(name, content)
        return f"{self.storage.uri}/{INDEX}"


def as_script(name: str, value: Any) -> str:
    """The script that hands `value` to the page: ASCII, and a string where it holds data."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return f"videogenData({_quoted(name)},{_quoted(text)});\n"


def assets() -> Iterator[tuple[str, bytes]]:
    """Name and content of every file of the pages."""
    for file in _ASSETS.iterdir():
        if file.name.endswith((".html", ".css", ".js", ".svg")):
            yield file.name, file.read_bytes()


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=True).replace("<", "\\u003c")
