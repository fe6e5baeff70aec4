"""sha256 of the files of a published model; large ones are read once per machine and remembered."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

CACHE_VARIABLE = "VIDEOGEN_CACHE"
REMEMBERED_BYTES = 2**26
"""Files from this size on are remembered; smaller ones are read again in no time."""
MODEL_SUFFIXES = frozenset({".safetensors", ".json", ".model", ".txt"})
"""Of weights, vocabularies and configurations: the files that a published model is made of."""
_THREADS = 4


def cache_folder() -> Path:
    """Where this machine keeps what it fetched: `$VIDEOGEN_CACHE`, else `~/.cache/videogen`."""
    chosen = os.environ.get(CACHE_VARIABLE) or "~/.cache/videogen"
    return Path(chosen).expanduser().absolute()


def file_digests(root: Path) -> dict[str, str]:
    """sha256 of every safetensors, vocabulary and configuration file of a folder, by its path.

    A large file is not read again while its size and its time of change stay the same.
    """
    files = {path.relative_to(root).as_posix(): path for path in _files_of(root)}
    memory = _memory_of(root)
    known = _recall(memory)
    stamps = {name: _stamp(path) for name, path in files.items()}
    old = {name: str(known[name][-1]) for name in files if known.get(name, [])[:-1] == stamps[name]}
    new = sorted(files.keys() - old.keys())
    with ThreadPoolExecutor(_THREADS) as threads:
        read = threads.map(file_sha256, (files[name] for name in new))
        digests = old | dict(zip(new, read, strict=True))
    large = [name for name in files if stamps[name][0] >= REMEMBERED_BYTES]
    if not set(large) <= old.keys():
        _remember(memory, {name: [*stamps[name], digests[name]] for name in large})
    return dict(sorted(digests.items()))


def file_sha256(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files_of(root: Path) -> Iterator[Path]:
    for path in root.rglob("*"):
        is_hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.suffix in MODEL_SUFFIXES and not is_hidden and path.is_file():
            yield path


def _stamp(path: Path) -> list[int]:
    """Changes with the file, as far as its folder knows."""
    state = path.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ino]


def _memory_of(root: Path) -> Path:
    name = hashlib.blake2b(str(root.resolve()).encode(), digest_size=16).hexdigest()
    return cache_folder() / "digests" / f"{name}.json"


def _recall(memory: Path) -> Mapping[str, list[Any]]:
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # nothing is remembered, or half of it was written
    is_known = isinstance(known, dict) and all(isinstance(each, list) for each in known.values())
    return known if is_known else {}


def _remember(memory: Path, known: Mapping[str, list[Any]]) -> None:
    temporary = memory.with_name(f"{memory.stem}.{os.getpid()}.part")
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(known), encoding="utf-8")
        temporary.replace(memory)
    except OSError:
        return  # where nothing can be kept, files are read again
