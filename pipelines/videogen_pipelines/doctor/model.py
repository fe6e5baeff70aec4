"""Whether the model can be read and its weights are the ones its description names."""

from __future__ import annotations

from videogen.errors import ConfigError, WeightsError
from videogen.storage import is_remote
from videogen_pipelines.doctor.checks import Family, Finding, Probe, failed, ok
from videogen_pipelines.doctor.subject import Subject


def model_family(subject: Subject) -> Family:
    """What the clips are made with."""
    name = subject.config.model.name
    return Family("model", (Probe("weights", lambda: check_model(name)),), is_remote(name))


def check_model(name: str) -> Finding:
    """Read `model.yaml` and compare the sha256 of every weight file.

    Raises:
        WeightsError: a file is missing or altered.
        ConfigError: the description is wrong.
    """
    from videogen.models.spec import read_spec, resolve_model
    from videogen.models.weights import check_files
    from videogen_pipelines.summary import format_bytes

    if is_remote(name):
        return _check_remote(name)
    try:
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
    size = sum((folder / file).stat().st_size for file in spec.files)
    found = f"{spec.name}, {len(spec.files)} files, {format_bytes(size)}, sha256 as described"
    return ok(f"{found}, digest {spec.digest[:12]}")


def _check_remote(name: str) -> Finding:
    """Look for the files; every machine fetches and checks them when a run starts."""
    from videogen_pipelines.doctor.output import open_soon
    from videogen_pipelines.model_cache import read_model_spec

    storage = open_soon(name)
    storage.exists("model.yaml")  # gives up soon, unlike what follows
    spec = read_model_spec(name)
    missing = [file for file in spec.files if not storage.exists(file)]
    if missing:
        return failed(f"{name} lacks {', '.join(missing)}", "copy the model there again")
    return ok(f"{spec.name}, {len(spec.files)} files at {name}, digest {spec.digest[:12]}")
