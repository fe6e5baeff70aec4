"""Where a run's data, weights and checkpoints are, and how they come to this machine and back."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from videogen.errors import StorageError
from videogen.storage import Storage, is_remote, open_storage
from videogen.storage.temporary import temporary_folder
from videogen.training.encoded_clips import ENCODE_FILE
from videogen.training.finetune_state import CHECKPOINT_FILE
from videogen.training.state import LOG_FILE
from videogen_pipelines.data.vanished import check_whole
from videogen_pipelines.model_cache import local_model
from videogen_pipelines.training.stages import Place

NAMED: tuple[Place, ...] = ("model", "encoder")


def absolute(place: str) -> str:
    """A place as workers in other folders find it."""
    return place if "://" in place else str(Path(place).expanduser().absolute())


def with_absolute(config: Any, places: Mapping[str, Place]) -> Any:
    """A configuration whose places are found from any folder; names stay names."""
    said = {name: getattr(config, name) for name in places}
    moved = {
        name: absolute(place)
        for name, place in said.items()
        if place and (places[name] not in NAMED or Path(place).expanduser().exists())
    }
    return dataclasses.replace(config, **moved)


def check_shards(config: Any, places: Mapping[str, Place]) -> None:
    """Refuse data of which a part is gone, which training would not notice.

    Raises:
        StorageError: a shard is recorded and not there; names it.
    """
    for name, kind in places.items():
        if kind == "shards" and (place := getattr(config, name)):
            for root in _roots(place):
                check_whole(open_storage(root))


def _roots(place: str) -> list[str]:
    """Where what is said of shards may lie: with them, or above a folder named `shards`.

    Both, because `data pack --out shards` makes a whole output of that name.
    """
    above = re.fullmatch(r"(.*[^/])/shards/*", absolute(place))
    return [place, above[1]] if above else [place]


def with_local(config: Any, places: Mapping[str, Place], folder: Path) -> Any:
    """A configuration whose places are on this machine; `folder` takes what was fetched.

    Raises:
        StorageError: an object store refuses or fails, or there is nothing at an address.
        WeightsError: there is no such model.
    """
    said = {name: getattr(config, name) for name in places}
    here = {
        name: str(_here(place, places[name], folder / name))
        for name, place in said.items()
        if is_remote(place)
    }
    return dataclasses.replace(config, **here)


def _here(address: str, kind: Place, folder: Path) -> str | Path:
    if kind == "model":
        return local_model(address)
    storage = open_storage(address)
    keys = [key for key in storage.list() if kind != "shards" or key.endswith(".tar")]
    if not keys:
        raise StorageError(
            f"{address}: got no {'.tar ' if kind == 'shards' else ''}object, expected "
            f"{'shards of clips' if kind == 'shards' else 'weights'}. Fix: check the address."
        )
    for key in keys:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        storage.download(key, path)
    if kind == "shards":
        _fetch_encode_file(address, folder)
    return folder


def _fetch_encode_file(address: str, folder: Path) -> None:
    """Beside the shards, where training looks for it."""
    for storage in map(open_storage, _roots(address)):
        if storage.exists(ENCODE_FILE):
            storage.download(ENCODE_FILE, folder / ENCODE_FILE)
            return


@contextmanager
def run_folder(out: str, kept: tuple[str, ...]) -> Iterator[Path]:
    """A folder on this machine with the checkpoint, the log and what else a run goes on from.

    That of a run in a local folder is the folder itself.
    """
    if not is_remote(out):
        yield Path(open_storage(out).uri)
        return
    storage = open_storage(out)
    with temporary_folder() as root:
        folder = root / "run"  # without what marks temporary folders as in use
        folder.mkdir()
        for key in storage.list():
            if any(fnmatch(key, name) for name in (CHECKPOINT_FILE, LOG_FILE, *kept)):
                storage.download(key, folder / key)
        yield folder


class Uploads:
    """Stores the files of a run that are new or have changed, if it is not a local one.

    Args:
        fence: called before every file; raises if we may not write any more.
    """

    def __init__(self, out: str, folder: Path, fence: Callable[[], None] = lambda: None) -> None:
        self._storage: Storage | None = open_storage(out) if is_remote(out) else None
        self._folder = folder
        self._fence = fence
        self._stored: dict[Path, int] = {}

    def store(self) -> None:
        """The checkpoint last, because runs go on from it.

        Raises:
            StorageError: the object store refuses or fails, or `fence` refuses.
        """
        if self._storage is None:
            return
        files = [path for path in self._folder.rglob("*") if path.is_file()]
        for path in sorted(files, key=lambda path: path.name == CHECKPOINT_FILE):
            changed = path.stat().st_mtime_ns
            if self._stored.get(path) != changed:
                self._fence()
                self._storage.put(path.relative_to(self._folder).as_posix(), path)
                self._stored[path] = changed
