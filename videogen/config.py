"""Strict configuration without pydantic: YAML in, frozen dataclasses out, mistakes named by path.

Model and training configurations are read on machines that have nothing but torch and pyyaml, so
the types are checked here: an int is accepted for a float, nothing else is converted.
"""

from __future__ import annotations

import copy
import dataclasses
import re
import sys
import types
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import yaml

from videogen.errors import ConfigError
from videogen.registry import did_you_mean

T = TypeVar("T")
MAX_SHOWN_CHARACTERS = 80


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys and reads `1e-4` as a number, as YAML 1.2 does."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"duplicate key '{key.value}'", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def shown(value: object) -> str:
    """`repr` cut to a length that fits a message."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}…"


def parse_yaml(text: str, source: str) -> Any:
    """Parse one YAML document with safe types only.

    Raises:
        ConfigError: it is not YAML, or a mapping names a key twice; says line and column.
    """
    try:
        return _StrictLoader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        raise ConfigError(f"{source}:{where} not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: not valid YAML: {error}") from error


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping; an empty file is an empty mapping.

    Raises:
        ConfigError: the file is missing, unreadable, no UTF-8, no YAML or no mapping.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"{path}: got no readable file ({reason}), expected a YAML file"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: got byte 0x{error.object[error.start]:02x} at offset {error.start}, expected "
            "UTF-8 text. Fix: save the file as UTF-8."
        ) from error
    data = parse_yaml(text, str(path))
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: got {shown(data)}, expected a mapping (lines 'key: value')")
    return data


def check_schema(data: Mapping[str, Any], source: str, version: int = 1) -> dict[str, Any]:
    """Return `data` without its `schema` key after checking that it is `version`.

    Raises:
        ConfigError: `schema` is missing or another version.
    """
    rest = dict(data)
    got = rest.pop("schema", None)
    if got is None:
        raise ConfigError(
            f"{source}: schema: missing, expected {version}. Fix: add the line 'schema: {version}'."
        )
    if type(got) is not int or got != version:
        raise ConfigError(
            f"{source}: schema: got {shown(got)}, expected {version}. Fix: write the file for "
            f"schema {version}, or use the release of videogen that reads this one."
        )
    return rest


def split_override(override: str) -> tuple[list[str], Any]:
    """Parse `a.b=c` into (["a", "b"], value); the value is read as YAML.

    Raises:
        ConfigError: there is no `=`, a part of the path is empty, or the value is no YAML.
    """
    path, equals, value = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(
            f"--set: got {shown(override)}, expected a.b=value. "
            "Fix: for example --set sampling.num_frames=33."
        )
    return keys, parse_yaml(value, f"--set {path.strip()}")


def apply_overrides(data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of `data` in which every `a.b=c` of `overrides` is set, later ones winning.

    Raises:
        ConfigError: an override is malformed, or its path runs through a value.
    """
    result = copy.deepcopy(dict(data))
    for override in overrides:
        keys, value = split_override(override)
        here = result
        for depth, key in enumerate(keys[:-1], start=1):
            if here.get(key) is None:
                here[key] = {}
            if not isinstance(here[key], dict):
                raise ConfigError(
                    f"--set {override}: '{'.'.join(keys[:depth])}' holds {shown(here[key])}, "
                    "expected a section. Fix: set it directly."
                )
            here = here[key]
        here[keys[-1]] = value
    return result


def blame(path: str, source: str, overrides: Sequence[str]) -> str:
    """Where the value at the dotted `path` came from: its last override, or `source`."""
    for override in reversed(overrides):
        set_path = ".".join(split_override(override)[0])
        if f"{path}.".startswith(f"{set_path}.") or set_path.startswith(f"{path}."):
            return f"--set {override}"
    return source


def load_dataclass(
    cls: type[T], data: Mapping[str, Any], source: str, overrides: Sequence[str] = ()
) -> T:
    """Build the (nested) dataclass `cls` from plain data, checking every type exactly.

    Understood: bool, int, float (an int is accepted), str, Path (from str), None, Literal, unions,
    `tuple[X, ...]`, `tuple[X, Y]`, `list[X]`, `dict[str, X]`, Any and dataclasses. Numbers must be
    finite.

    Args:
        source: what errors name, usually the file.
        overrides: `a.b=c` strings to apply first; errors they cause name `--set` instead.

    Raises:
        ConfigError: an unknown or missing field, a value of another type, or a `ValueError` from
            `__post_init__`; names source, dotted path, value and what was expected.
    """
    merged = apply_overrides(data, overrides)
    try:
        return cast(T, _build(cls, merged, ""))
    except _MismatchError as error:
        raise ConfigError(
            f"{blame(error.path, source, overrides)}: {error.path or cls.__name__}: {error.problem}"
        ) from error.__cause__


def to_plain(config: Any) -> Any:
    """The YAML-ready value of a dataclass: dicts, lists, strings and numbers only."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: to_plain(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {key: to_plain(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [to_plain(value) for value in config]
    return str(config) if isinstance(config, Path) else config


class _MismatchError(Exception):
    """A value does not fit; `path` is dotted, `problem` the rest of the message."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem


@cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return get_type_hints(cls)


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _build(cls: type[Any], data: Any, path: str) -> Any:
    if not isinstance(data, Mapping):
        raise _MismatchError(path, f"got {shown(data)}, expected a section (a mapping of fields)")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for key in data:
        if key not in fields:
            known = did_you_mean(str(key), list(fields))
            raise _MismatchError(_join(path, key), f"unknown field, {known}")
    for name, field in fields.items():
        if name not in data and _is_required(field):
            raise _MismatchError(
                _join(path, name), f"missing, expected {describe_type(_hints(cls)[name])}"
            )
    values = {
        key: _convert(_hints(cls)[key], value, _join(path, key)) for key, value in data.items()
    }
    try:
        return cls(**values)
    except ValueError as error:
        field_name, colon, problem = str(error).partition(": ")
        if colon and field_name in fields:
            raise _MismatchError(_join(path, field_name), problem) from error
        raise _MismatchError(path, str(error)) from error


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _convert(kind: Any, value: Any, path: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _convert_union(get_args(kind), value, path)
    if dataclasses.is_dataclass(kind):
        return _build(cast(type, kind), value, path)
    if origin in (tuple, list):
        return _convert_sequence(kind, value, path)
    if origin is dict and isinstance(value, Mapping):
        key_kind, value_kind = get_args(kind)
        return {
            _convert(key_kind, key, path): _convert(value_kind, item, _join(path, key))
            for key, item in value.items()
        }
    return _convert_scalar(kind, value, path)


def _convert_scalar(kind: Any, value: Any, path: str) -> Any:
    if kind is Any:
        return value
    if get_origin(kind) is Literal and any(
        value == option and type(value) is type(option) for option in get_args(kind)
    ):
        return value
    if kind is float and _is_finite(value):
        return float(value)
    if kind is Path and type(value) is str:
        return Path(value)
    if kind in (bool, int, str) and type(value) is kind:
        return value
    if kind in (None, type(None)) and value is None:
        return None
    hint = ""
    if get_origin(kind) is Literal and isinstance(value, str):
        hint = did_you_mean(value, [str(option) for option in get_args(kind)]).partition(".")[2]
    raise _MismatchError(
        path, f"got {shown(value)}, expected {describe_type(kind)}{'.' if hint else ''}{hint}"
    )


def _convert_union(kinds: tuple[Any, ...], value: Any, path: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not type(None))
    exact = [kind for kind in kinds if type(value) is kind]
    problems: list[_MismatchError] = []
    for kind in (*exact, *kinds):
        try:
            return _convert(kind, value, path)
        except _MismatchError as error:
            problems.append(error)
    deepest = max(problems, key=lambda problem: len(problem.path))
    if len(kinds) == 1 or deepest.path != path:
        raise deepest
    expected = " or ".join(describe_type(kind) for kind in kinds)
    raise _MismatchError(path, f"got {shown(value)}, expected {expected}")


def _convert_sequence(kind: Any, value: Any, path: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if not isinstance(value, list | tuple):
        raise _MismatchError(path, f"got {shown(value)}, expected {describe_type(kind)}")
    if origin is list or (len(arguments) == 2 and arguments[1] is Ellipsis):
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise _MismatchError(
            path, f"got {len(value)} values {shown(value)}, expected {describe_type(kind)}"
        )
    items = (
        _convert(argument, item, _join(path, index))
        for index, (argument, item) in enumerate(zip(arguments, value, strict=True))
    )
    return origin(items)


_NAMES = {int: "an integer", float: "a finite number", str: "a string", bool: "true or false"}


def describe_type(kind: Any) -> str:
    """What a value of that type is called in a message: "an integer", "one of a, b"."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        options = ", ".join(str(option) for option in arguments)
        return options if len(arguments) == 1 else f"one of {options}"
    if origin in (Union, types.UnionType):
        return " or ".join(describe_type(argument) for argument in arguments)
    if origin is list or (origin is tuple and arguments[-1] is Ellipsis):
        return f"a list, each {describe_type(arguments[0])}"
    if origin is tuple:
        return f"a list of {len(arguments)} values ({', '.join(map(describe_type, arguments))})"
    if origin is dict:
        return "an object (a mapping of names to values)"
    if kind is Path:
        return "a path"
    if kind in (None, type(None)):
        return "null"
    if dataclasses.is_dataclass(kind):
        return "a section"
    return _NAMES.get(kind, str(kind))
