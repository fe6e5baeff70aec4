"""What the folder of a pipeline holds, read and checked without diffusers and without weights.

Nothing in it can bring code along: classes come from diffusers and transformers by name, and
weights from safetensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from videogen.errors import ConfigError, WeightsError
from videogen.foreign.address import INDEX
from videogen.models.descriptions import read_json
from videogen.models.digests import file_sha256
from videogen.models.text_folders import PICKLES

_VARIANT = re.compile(r"(?:diffusion_pytorch_)?model(?:\.(\w+))?(?:-\d+-of-\d+)?\.safetensors")


@dataclass(frozen=True)
class Component:
    """A part of a pipeline: the class that `library` gives it, and its own folder."""

    library: str
    kind: str
    folder: Path

    @property
    def config(self) -> dict[str, Any]:
        """What its configuration says; empty for parts that have none, such as tokenizers."""
        names = ("config.json", "scheduler_config.json")
        paths = [self.folder / name for name in names if (self.folder / name).is_file()]
        return read_json(paths[0]) if paths else {}


@dataclass(frozen=True)
class PipelineFolder:
    """The folder of one pipeline."""

    path: Path
    pipeline: str
    components: Mapping[str, Component]
    """By name; those that are null in the index are left out."""
    absent: tuple[str, ...]
    """Names that are null there."""

    @property
    def variant(self) -> str | None:
        """What weight files are called by, such as fp16, where there are no plain ones."""
        for component in self.components.values():
            variants = _variants(component.folder)
            if variants and None not in variants:
                return sorted(filter(None, variants))[0]
        return None

    def weight_files(self) -> list[Path]:
        """The safetensors that are read."""
        parts = (component_files(component.folder) for component in self.components.values())
        files = [path for part in parts for path in part if path.suffix == ".safetensors"]
        matches = ((path, _VARIANT.fullmatch(path.name)) for path in files)
        return [path for path, match in matches if match and match[1] == self.variant]

    def digests(self) -> dict[str, str]:
        """sha256 of the index and of every file in the folders of components, by path.

        Pickles, which are never read, and hidden files are left out. Files are read once.
        """
        return dict(self._digests)

    @cached_property
    def _digests(self) -> dict[str, str]:
        files = [self.path / INDEX]
        for component in self.components.values():
            files += component_files(component.folder)
        return {file.relative_to(self.path).as_posix(): file_sha256(file) for file in files}


def component_files(folder: Path) -> list[Path]:
    """The files of a component that count, in the order of their paths."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.suffix not in PICKLES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def read_folder(path: Path) -> PipelineFolder:
    """Read the index of a pipeline and check that every part is there, in safetensors.

    Raises:
        WeightsError: the index or a part is missing or damaged, or there are pickles only.
        ConfigError: it asks for classes of its own, which would be code of a stranger.
    """
    index = read_json(path / INDEX)
    pipeline = index.get("_class_name")
    if not isinstance(pipeline, str):
        raise ConfigError(
            f"{path / INDEX}: _class_name: got {pipeline!r}, expected the name of a pipeline of "
            "diffusers, because code in a folder is never run. Fix: use the folder of such a one."
        )
    pairs = {n: v for n, v in index.items() if isinstance(v, list) and not n.startswith("_")}
    components: dict[str, Component] = {}
    absent: list[str] = []
    for name, pair in pairs.items():
        if len(pair) == 2 and pair[0] is None:
            absent.append(name)
        elif len(pair) == 2 and all(isinstance(part, str) for part in pair):
            components[name] = _component(path, name, pair)
    return PipelineFolder(path, pipeline, components, tuple(absent))


def _component(path: Path, name: str, pair: list[str]) -> Component:
    if Path(name).name != name:
        raise ConfigError(f"{path / INDEX}: got a part '{name}', expected the name of a folder.")
    folder = path / name
    if any(path.glob(f"{pair[0]}.py")) or any(folder.glob("*.py")):
        raise ConfigError(
            f"{path / INDEX}: {name}: got {pair}, whose code lies in the folder, expected a class "
            "of diffusers or transformers, because code in a folder is never run. Fix: use the "
            "folder of such a pipeline."
        )
    if not folder.is_dir():
        raise WeightsError(f"{folder}: missing. Fix: copy or download the whole folder.")
    _check_weights(folder)
    return Component(pair[0], pair[1], folder)


def _check_weights(folder: Path) -> None:
    """Raise for pickles without safetensors beside them, and for shards that are not there."""
    names = {path.name for path in folder.iterdir()}
    pickles = sorted(name for name in names if Path(name).suffix in PICKLES)
    if pickles and not any(name.endswith(".safetensors") for name in names):
        raise WeightsError(
            f"{folder}: got {', '.join(pickles)}, expected safetensors, because reading a pickle "
            "can run code. Fix: convert it where you trust it (save_pretrained writes "
            "safetensors), or download the safetensors."
        )
    for name in sorted(name for name in names if name.endswith(".safetensors")):
        _check_header(folder / name)
    for index in sorted(name for name in names if name.endswith(".safetensors.index.json")):
        weight_map = read_json(folder / index).get("weight_map")
        shards = set(map(str, weight_map.values())) if isinstance(weight_map, dict) else {"none"}
        missing = sorted(shards - names)
        if missing:
            raise WeightsError(
                f"{folder / missing[0]}: missing, expected a shard that {index} names. "
                "Fix: copy or download the whole folder."
            )


def _check_header(path: Path) -> None:
    try:
        with safe_open(path, framework="np"):
            pass
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{path}: cannot be read as safetensors ({error}). Fix: copy or download it again."
        ) from error


def _variants(folder: Path) -> set[str | None]:
    """The variants of the weights in a folder, None for plain ones; empty where there are none."""
    matches = (_VARIANT.fullmatch(path.name) for path in folder.iterdir())
    return {match[1] for match in matches if match}
