"""Cells and metadata."""

from __future__ import annotations

import pytest

from videogen_pipelines.manifest.strict_json import JsonError, parse_json
from videogen_pipelines.manifest.values import from_cell, plain_metadata


@pytest.mark.parametrize(
    ("name", "cell", "value"),
    [
        ("prompt", " 12 ", " 12 "),
        ("id", " 12 ", "12"),
        ("seed", "12", 12),
        ("seed", "1_000", "1_000"),
        ("seed", "12.0", 12.0),
        ("seed", "٣", "٣"),
        ("fps", "12", 12.0),
        ("fps", "1e-1", 0.1),
        ("fps", "nan", "nan"),
        ("fps", "inf", "inf"),
        ("fps", "0x10", "0x10"),
        ("guidance_interval", "0,1", [0, 1]),
        ("guidance_interval", "[0, 1]", [0, 1]),
        ("guidance_interval", "0;1", "0;1"),
        ("metadata", '{"a": 1}', {"a": 1}),
        ("metadata", "{a: 1}", "{a: 1}"),
        ("sampler", " euler", "euler"),
    ],
)
def test_a_cell_is_read_by_its_field_or_stays_text(name: str, cell: str, value: object) -> None:
    result = from_cell(name, cell)
    assert (result, type(result)) == (value, type(value))


def test_metadata_has_a_size() -> None:
    assert plain_metadata({"k": "x" * 65_526}) == {"k": "x" * 65_526}
    with pytest.raises(ValueError, match="got 65537 bytes of JSON, expected at most 65536"):
        plain_metadata({"k": "x" * 65_528})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", [{"a": float("-inf")}]])
def test_metadata_is_what_json_and_utf8_can_hold(value: object) -> None:
    with pytest.raises(ValueError, match="expected finite numbers and text without lone"):
        plain_metadata({"k": value})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": 2, "a": 1}', "a: got the key twice, expected each key once"),
        ('{"m": {"k": 1, "k": 2}}', "k: got the key twice, expected each key once"),
        ('{"a": 1', "got expecting ',' delimiter at column 8, expected valid JSON"),
        ("[" * 100_000, "got deeply nested JSON"),
        ('{"a": 1' + "0" * 5000 + "}", "got Exceeds the limit"),
    ],
)
def test_json_is_strict(text: str, message: str) -> None:
    with pytest.raises(JsonError) as caught:
        parse_json(text)
    assert str(caught.value).startswith(message)
