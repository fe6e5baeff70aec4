"""`diffusers:/folder`, or `diffusers:/folder+/folder` for stages of a cascade."""

from __future__ import annotations

from pathlib import Path

from videogen.errors import WeightsError

PREFIX = "diffusers:"
INDEX = "model_index.json"


def is_foreign(name: str | Path) -> bool:
    """Whether a model's name asks for a pipeline of diffusers."""
    return str(name).startswith(PREFIX)


def stage_folders(name: str) -> tuple[Path, ...]:
    """The absolute folders of the stages that a name lists, in the order they run.

    A folder whose own name holds a '+' is one folder.

    Raises:
        WeightsError: one is no folder of a pipeline here.
    """
    said = name.removeprefix(PREFIX).strip()
    parts = [said] if (Path(said).expanduser() / INDEX).is_file() else said.split("+")
    folders = tuple(Path(part.strip()).expanduser() for part in parts)
    for part, folder in zip(parts, folders, strict=True):
        if not part.strip() or not (folder / INDEX).is_file():
            raise WeightsError(
                f"model: got '{PREFIX}{part.strip()}', expected a local folder that holds {INDEX}. "
                "Fix: download the pipeline yourself and give its folder; nothing is fetched from "
                f"a hub. The stages of a cascade are {PREFIX}/first+/second."
            )
    return tuple(folder.resolve() for folder in folders)


def absolute_if_here(name: str) -> str:
    """`absolute`, and the name as it is where its folders are on other machines only."""
    try:
        return absolute(name)
    except WeightsError:
        return name


def absolute(name: str) -> str:
    """The same name with absolute folders, which means the same wherever a process starts.

    Raises:
        WeightsError: see `stage_folders`.
    """
    return PREFIX + "+".join(map(str, stage_folders(name)))
