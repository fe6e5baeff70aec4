"""Strict YAML into dataclasses: what is accepted, and the sentence for everything else."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from videogen.config import (
    apply_overrides,
    blame,
    check_schema,
    load_dataclass,
    load_yaml,
    parse_yaml,
    to_plain,
)
from videogen.errors import ConfigError


@dataclass(frozen=True)
class Dit:
    width: int
    attention: Literal["factorized", "joint"] = "factorized"
    patch: tuple[int, int, int] = (1, 2, 2)
    ratios: tuple[float, ...] = ()
    drop: float | None = None

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width: got {self.width}, expected at least 1")


@dataclass(frozen=True)
class Model:
    name: str
    dit: Dit
    files: dict[str, str] = field(default_factory=dict)
    root: Path = Path()
    gangs: int | Literal["auto"] = "auto"
    causal: bool = False


GOOD: dict[str, Any] = {"name": "m", "dit": {"width": 8}}


def error_of(data: dict[str, Any], *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_dataclass(Model, data, "m.yaml", overrides)
    return str(caught.value)


def test_builds_nested_dataclasses_with_exact_types() -> None:
    model = load_dataclass(
        Model,
        {
            "name": "m",
            "dit": {"width": 8, "patch": [1, 4, 4], "ratios": [1, 2.5], "drop": 0},
            "files": {"dit.safetensors": "ab"},
            "root": "weights",
            "gangs": 3,
            "causal": True,
        },
        "m.yaml",
    )
    assert model.dit == Dit(8, "factorized", (1, 4, 4), (1.0, 2.5), 0.0)
    assert [type(ratio) for ratio in model.dit.ratios] == [float, float]
    assert type(model.dit.drop) is float
    assert (model.files, model.root) == ({"dit.safetensors": "ab"}, Path("weights"))
    assert (model.gangs, model.causal) == (3, True)


def test_to_plain_is_read_back_to_the_same() -> None:
    model = load_dataclass(Model, GOOD, "m.yaml", ["dit.ratios=[0.5]", "root=a/b"])
    plain = to_plain(model)
    assert plain["dit"]["patch"] == [1, 2, 2]
    assert plain["root"] == "a/b"
    assert load_dataclass(Model, plain, "again") == model


@pytest.mark.parametrize(
    ("dit", "message"),
    [
        ({"width": "8"}, "m.yaml: dit.width: got '8', expected an integer"),
        ({"width": True}, "m.yaml: dit.width: got True, expected an integer"),
        ({"width": 8.0}, "m.yaml: dit.width: got 8.0, expected an integer"),
        ({"width": None}, "m.yaml: dit.width: got None, expected an integer"),
        ({}, "m.yaml: dit.width: missing, expected an integer"),
        ({"width": 0}, "m.yaml: dit.width: got 0, expected at least 1"),
        ({"width": 8, "drop": "x"}, "m.yaml: dit.drop: got 'x', expected a finite number"),
        ({"width": 8, "drop": float("nan")}, "dit.drop: got nan, expected a finite number"),
        ({"width": 8, "drop": 10**400}, "dit.drop: got 1000"),
        ({"width": 8, "ratios": [1, "2"]}, "dit.ratios.1: got '2', expected a finite number"),
        ({"width": 8, "patch": [1, 2]}, "dit.patch: got 2 values [1, 2], expected a list of 3"),
        ({"width": 8, "patch": 2}, "dit.patch: got 2, expected a list of 3 values"),
        (
            {"width": 8, "attention": "facorized"},
            "dit.attention: got 'facorized', expected one of factorized, joint. "
            "Did you mean 'factorized'?",
        ),
        (
            {"widht": 8},
            "m.yaml: dit.widht: unknown field, expected one of width, attention, patch, ratios, "
            "drop. Did you mean 'width'?",
        ),
        (3, "m.yaml: dit: got 3, expected a section"),
    ],
)
def test_names_the_path_the_value_and_what_was_expected(dit: Any, message: str) -> None:
    assert message in error_of({"name": "m", "dit": dit})


def test_a_union_says_all_it_takes() -> None:
    assert error_of({**GOOD, "gangs": "autp"}) == (
        "m.yaml: gangs: got 'autp', expected an integer or auto"
    )


def test_an_error_in_an_overridden_value_blames_the_override() -> None:
    assert error_of(GOOD, "dit.width=x").startswith("--set dit.width=x: dit.width: got 'x'")
    assert error_of(GOOD, "dit={}").startswith("--set dit={}: dit.width: missing")
    assert error_of({"name": 3, **GOOD, "nam": 1}, "dit.width=9").startswith("m.yaml: nam:")


def test_blame_goes_to_the_last_override_that_set_the_value() -> None:
    overrides = ["a.b=1", "a.b=2", "c=3"]
    assert blame("a.b", "f", overrides) == "--set a.b=2"
    assert blame("a", "f", overrides) == "--set a.b=2"
    assert blame("a.bc", "f", overrides) == "f"


def test_overrides_are_yaml_and_the_last_one_wins() -> None:
    data = {"a": {"b": 1}}
    assert apply_overrides(data, ["a.b=2", "a.c=[1, x]", "d.e=null", "a.b=1e-4", "f="]) == {
        "a": {"b": 1e-4, "c": [1, "x"]},
        "d": {"e": None},
        "f": None,
    }
    assert data == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("a.b", "--set: got 'a.b', expected a.b=value"),
        ("=3", "--set: got '=3', expected a.b=value"),
        ("a..b=3", "--set: got 'a..b=3', expected a.b=value"),
        ("n.x=3", "--set n.x=3: 'n' holds 1, expected a section"),
        ("a=[1", "--set a: line 1, column 3: not valid YAML"),
    ],
)
def test_a_malformed_override_is_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        apply_overrides({"n": 1}, [override])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("-3E+2", -300.0), ("1.5e3", 1500.0), ("17", 17), ("1e", "1e"), ("", None)],
)
def test_numbers_are_read_as_yaml_1_2_has_them(text: str, value: object) -> None:
    assert parse_yaml(text, "f") == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "f: line 3, column 1: not valid YAML: duplicate key 'a'"),
        ("s:\n  a: 1\n  a: 3\n", "f: line 3, column 3: not valid YAML: duplicate key 'a'"),
        ("a: [1", "f: line 1, column 6: not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []", "f: line 1, column 4: not valid YAML"),
        ("a: 1\n--- \nb: 2", "f: line 2, column 1: not valid YAML"),
        ("a: \x07", "f: not valid YAML"),
    ],
)
def test_refuses_what_is_no_plain_yaml(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "f")
    assert message in str(caught.value)


def test_a_merged_mapping_may_be_overridden() -> None:
    text = "base: &base {a: 1, b: 2}\nuse:\n  <<: *base\n  b: 3\n"
    assert parse_yaml(text, "f")["use"] == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- 1\n", "got [1], expected a mapping"),
        (b"hello", "got 'hello', expected a mapping"),
        (b"a: \xff", "got byte 0xff at offset 3, expected UTF-8 text"),
    ],
)
def test_load_yaml_refuses_files_that_hold_no_mapping(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_yaml(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_load_yaml_reads_a_byte_order_mark_and_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert load_yaml(path) == {"a": 1}
    path.write_bytes(b"# nothing\n")
    assert load_yaml(path) == {}


def test_load_yaml_names_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError) as caught:
            load_yaml(path)
        assert str(caught.value).startswith(f"{path}: got no readable file")


def test_schema_is_checked_and_removed() -> None:
    assert check_schema({"schema": 1, "a": 2}, "f") == {"a": 2}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "f: schema: missing, expected 1. Fix: add the line 'schema: 1'."),
        ({"schema": 2}, "f: schema: got 2, expected 1. Fix:"),
        ({"schema": "1"}, "f: schema: got '1', expected 1. Fix:"),
        ({"schema": True}, "f: schema: got True, expected 1. Fix:"),
    ],
)
def test_another_schema_is_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_schema(data, "f")
    assert str(caught.value).startswith(message)
