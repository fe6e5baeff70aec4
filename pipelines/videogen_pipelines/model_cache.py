"""Models in an object store: described from afar, fetched once per machine into a cache."""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from videogen.config import load_dataclass, parse_yaml, shown
from videogen.errors import ConfigError, WeightsError
from videogen.foreign.address import is_foreign
from videogen.models.digests import file_sha256
from videogen.models.protocol import MakesWholeClips
from videogen.models.published import INDEX, AnySpec, is_published, read_published_spec
from videogen.models.spec import SPEC_FILE, ModelSpec, read_spec, resolve_model
from videogen.storage import MissingKeyError, Storage, is_remote, open_storage
from videogen.storage.lock import waiting_lock
from videogen_pipelines.fetched_folder import appearing, cached_models, whole_file

if TYPE_CHECKING:
    from videogen.foreign.spec import ForeignSpec

logger = logging.getLogger(__name__)


def read_any_spec(name: str, decoder: str | None = None) -> AnySpec | ForeignSpec:
    """The description of a model or of `diffusers:/folder`, wherever it is.

    Raises:
        VideogenError: see `read_model_spec` and `videogen.foreign.spec.read_foreign_spec`.
    """
    if not is_foreign(name):
        return read_model_spec(name, decoder)
    from videogen.foreign.spec import read_foreign_spec  # needs torch

    return read_foreign_spec(name)


def read_model_spec(name: str, decoder: str | None = None) -> AnySpec:
    """The description of a model, wherever it is.

    Weights are fetched of published models alone, whose digest is known from nothing else.

    Args:
        name: a preset's name, a folder, or an `s3://` address of a folder.
        decoder: see `videogen.models.published.read_published_spec`.

    Raises:
        WeightsError: there is no such model.
        ConfigError: its description is wrong, or it has no choice of decoders.
        StorageError: the object store refuses or fails.
    """
    folder = _published_folder(name)
    if folder is not None:
        return read_published_spec(folder, decoder)
    if decoder is not None:
        raise ConfigError(
            f"model.decoder: got '{decoder}', expected null, because {name} has one VAE. "
            "Fix: leave it out."
        )
    if not is_remote(name):
        return read_spec(resolve_model(name))
    return _parse(name, _description(open_storage(name), name))


def _published_folder(name: str) -> Path | None:
    """The folder on this machine of a published model, fetched if need be; None of others."""
    if not is_remote(name):
        folder = Path(name).expanduser()
        return folder if is_published(folder) else None
    from videogen_pipelines.published_cache import is_published_at, published_folder

    return published_folder(name) if is_published_at(open_storage(name)) else None


def check_model_files(spec: AnySpec | ForeignSpec) -> None:
    """Raise unless what the files of a published model hold is what its description says.

    Only headers are read. Models of this package are compared when they are loaded.

    Raises:
        WeightsError: a file is missing, truncated or a pickle, or keys or shapes do not fit.
        ConfigError: parts are not of one model, or its scheduler asks for what is not supported.
    """
    if isinstance(spec, ModelSpec | MakesWholeClips):
        return
    from videogen.extension.schedule import schedule_of  # needs torch
    from videogen.models.published_parts import check_published

    check_published(spec)
    schedule_of(spec)


def local_model(name: str) -> str | Path:
    """What loads the model on this machine: `name` itself, or the folder it was fetched into.

    However many ranks ask at once, one fetches and the others wait. A folder appears whole, under
    the sha256 of its description, which holds the sha256 of every weight file; for published
    models see `videogen_pipelines.published_cache`.

    Raises:
        WeightsError: there is no such model, or a file of it is not the one described.
        StorageError: the object store refuses or fails, or this machine's disk.
    """
    if not is_remote(name):
        return name
    published = _published_folder(name)
    if published is not None:
        return published
    storage = open_storage(name)
    description = _description(storage, name)
    spec = _parse(name, description)
    folder = cached_models() / hashlib.sha256(description).hexdigest()
    with waiting_lock(folder.with_name(f"{folder.name}.lock")):
        if not _is_whole(folder, spec):
            _fetch(storage, spec, description, folder)
    return folder


def _description(storage: Storage, name: str) -> bytes:
    try:
        return storage.read(SPEC_FILE)
    except MissingKeyError as error:
        raise WeightsError(
            f"model: got '{name}', expected the address of a folder with {SPEC_FILE} or {INDEX}, "
            "and safetensors weights. Fix: check the address."
        ) from error


def _parse(name: str, description: bytes) -> ModelSpec:
    source = f"{name.rstrip('/')}/{SPEC_FILE}"
    try:
        text = description.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{source}: got bytes that are no UTF-8, expected text. Fix: save the file as UTF-8."
        ) from error
    data = parse_yaml(text, source)
    if not isinstance(data, dict):
        raise ConfigError(f"{source}: got {shown(data)}, expected a mapping (lines 'key: value')")
    if "base" in data:
        raise ConfigError(
            f"{source}: base: got {shown(data['base'])}, expected a whole model in an object "
            "store. Fix: keep adapted models, and what they adapt, on a disk that all nodes see."
        )
    spec = load_dataclass(ModelSpec, data, source)
    wrong = [file for file in spec.files if PurePosixPath(file).name != file]
    if wrong:
        raise WeightsError(
            f"{source}: got the weight file '{wrong[0]}', expected a name without a folder. "
            "Fix: keep all weight files beside the description."
        )
    return spec


def _is_whole(folder: Path, spec: ModelSpec) -> bool:
    return all((folder / file).is_file() for file in (SPEC_FILE, *spec.files))


def _fetch(storage: Storage, spec: ModelSpec, description: bytes, folder: Path) -> None:
    """Fetch and check; called under the lock."""
    logger.info("fetching model %s from %s", spec.name, storage.uri)
    with appearing(folder) as temporary:
        _download(storage, spec, temporary)
        (temporary / SPEC_FILE).write_bytes(description)


def _download(storage: Storage, spec: ModelSpec, folder: Path) -> None:
    for name, expected in spec.files.items():
        path = folder / name
        if path.is_file() and file_sha256(path) == expected:
            continue  # fetched by a process that was killed later
        with whole_file(path) as temporary:
            _download_file(storage, name, temporary)
            _check(f"{storage.uri}/{name}", temporary, expected)
    _remove_folders(folder)  # nothing says whether what was left there is what is stored now
    for key in _text_encoder(storage, spec):
        with whole_file(folder / key) as temporary:
            _download_file(storage, key, temporary)


def _download_file(storage: Storage, key: str, path: Path) -> None:
    try:
        storage.download(key, path)
    except MissingKeyError as error:
        raise WeightsError(
            f"{storage.uri}/{key}: missing, expected a file that {SPEC_FILE} names. "
            "Fix: copy the model there again."
        ) from error


def _check(address: str, path: Path, expected: str) -> None:
    if (found := file_sha256(path)) != expected:
        raise WeightsError(
            f"{address}: got sha256 {found}, expected {expected} as {SPEC_FILE} says. "
            "Fix: copy the model there again, all of it."
        )


def _remove_folders(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


def _text_encoder(storage: Storage, spec: ModelSpec) -> list[str]:
    """The files of a pretrained text encoder that lies inside the model's folder."""
    path = PurePosixPath(spec.text.path)
    if spec.text.kind == "words" or path.is_absolute() or not path.parts:
        return []
    return list(storage.list(f"{path}/"))
