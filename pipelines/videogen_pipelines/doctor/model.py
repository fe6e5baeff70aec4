"""Whether the model can be read and its weights are the ones its description names."""

from __future__ import annotations

from pathlib import Path

from videogen.errors import ConfigError, WeightsError
from videogen.storage import is_remote
from videogen_pipelines.doctor.checks import Family, Finding, Probe, failed, ok
from videogen_pipelines.doctor.subject import Subject


def model_family(subject: Subject) -> Family:
    """What the clips are made with."""
    name, decoder = subject.config.model.name, subject.config.model.decoder
    return Family("model", (Probe("weights", lambda: check_model(name, decoder)),), is_remote(name))


def check_model(name: str, decoder: str | None = None) -> Finding:
    """Read `model.yaml` and compare the sha256 of every weight file.

    Of a published model, compare names and shapes in every file with what its configurations say.

    Raises:
        WeightsError: a file is missing or altered.
        ConfigError: the description is wrong.
    """
    from videogen.foreign.address import is_foreign
    from videogen.models.published import is_published
    from videogen.models.spec import read_spec, resolve_model, weight_file
    from videogen.models.weights import check_files
    from videogen_pipelines.summary import format_bytes

    if is_remote(name):
        return _check_remote(name)
    try:
        if is_foreign(name):
            return _check_foreign(name)
        if is_published(Path(name).expanduser()):
            return _check_published(name, decoder)
        folder = resolve_model(name)
        spec = read_spec(folder)
        check_files(folder, spec.files)
    except (WeightsError, ConfigError):
        raise
    except OSError as error:
        raise WeightsError(
            f"model: got '{error.strerror}' reading {error.filename or name}, expected a readable "
            "folder. Fix: check its permissions and that its disk is mounted."
        ) from error
    size = sum(weight_file(folder, file).stat().st_size for file in spec.files)
    found = f"{spec.name}, {len(spec.files)} files, {format_bytes(size)}, sha256 as described"
    return ok(f"{found}, digest {spec.digest[:12]}")


def _check_foreign(name: str) -> Finding:
    """Read the folders of a pipeline of diffusers and the headers of their weights."""
    from videogen.foreign.library import diffusers_version
    from videogen.foreign.spec import read_foreign_spec

    spec = read_foreign_spec(name)
    return ok(f"{'; '.join(spec.described())}; diffusers {diffusers_version()}")


def _check_published(name: str, decoder: str | None) -> Finding:
    from videogen.models.published_parts import count_model
    from videogen_pipelines.model_cache import check_model_files, read_model_spec
    from videogen_pipelines.model_summary import name_model
    from videogen_pipelines.summary import format_bytes

    spec = read_model_spec(name, decoder)
    check_model_files(spec)
    files = list(Path(name).expanduser().rglob("*.safetensors"))
    size = sum(path.stat().st_size for path in files)
    found = f"{name_model(spec)} in {name}, {len(files)} weight files, {format_bytes(size)}"
    return ok(f"{found}, {count_model(spec).total / 1e9:.3g} G parameters, all as described")


def _check_remote(name: str) -> Finding:
    """Look for the files; every machine fetches and checks them when a run starts."""
    from videogen.models.spec import ModelSpec
    from videogen_pipelines.doctor.output import open_soon
    from videogen_pipelines.model_cache import read_model_spec
    from videogen_pipelines.published_cache import is_published_at

    storage = open_soon(name)
    if is_published_at(storage):  # gives up soon, unlike what follows
        return _look_at_published(name)
    spec = read_model_spec(name)
    assert isinstance(spec, ModelSpec), "what lies in an object store is described by model.yaml"
    missing = [file for file in spec.files if not storage.exists(file)]
    if missing:
        return failed(f"{name} lacks {', '.join(missing)}", "copy the model there again")
    return ok(f"{spec.name}, {len(spec.files)} files at {name}, digest {spec.digest[:12]}")


def _look_at_published(name: str) -> Finding:
    from videogen.storage.s3 import S3Storage
    from videogen_pipelines.published_cache import files_at
    from videogen_pipelines.summary import format_bytes

    files = files_at(S3Storage(name))
    size = format_bytes(sum(stored.size for stored in files.values()))
    return ok(
        f"a published model, {len(files)} files at {name}, {size}; not looked into: machines fetch "
        "and check it when a run starts"
    )
