"""Cells of a CSV become numbers and objects; metadata becomes plain JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

from videogen.config import shown
from videogen_pipelines.manifest.strict_json import parse_json

INTEGER_FIELDS = frozenset(
    {
        "seed",
        "num_frames",
        "height",
        "width",
        "num_inference_steps",
        "chunk_frames",
        "context_frames",
        "async_steps",
    }
)
NUMBER_FIELDS = frozenset(
    {
        "fps",
        "guidance_scale",
        "guidance_rescale",
        "flow_shift",
        "eta",
        "duration_s",
        "context_noise",
        "context_guidance",
        "anchor",
    }
)
JSON_FIELDS = frozenset({"guidance_interval", "metadata", "prompts"})
BOOLEANS = {"true": True, "false": False}
BOOLEAN_FIELDS = frozenset({"loop"})
TEXT_FIELDS = frozenset({"prompt", "negative_prompt"})
MAX_METADATA_BYTES = 65_536
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


def from_cell(name: str, cell: str) -> Any:
    """The value of a CSV cell for the field `name`; text that is no such value stays text."""
    if name in TEXT_FIELDS:
        return cell
    cell = cell.strip()
    if name in INTEGER_FIELDS and _INTEGER.fullmatch(cell):
        return int(cell)
    if name in INTEGER_FIELDS | NUMBER_FIELDS and _NUMBER.fullmatch(cell):
        return float(cell)  # of an integer field: to be refused as the number it is
    if name in BOOLEAN_FIELDS:
        return BOOLEANS.get(cell.lower(), cell)
    if name == "guidance_interval" and not cell.startswith("["):
        cell_as_json = f"[{cell}]"  # 0.1,0.9
    elif name in JSON_FIELDS:
        cell_as_json = cell
    else:
        return cell
    try:
        return parse_json(cell_as_json)
    except ValueError:
        return cell


def canonical(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` written one way, so that `fps` 24 and 24.0 are the same row in every format."""
    return {name: _canonical(name, value) for name, value in fields.items()}


def _canonical(name: str, value: Any) -> Any:
    if name in NUMBER_FIELDS and type(value) is int:
        return value * 1.0 if abs(value) < 2**53 else value
    if name == "guidance_interval" and isinstance(value, list):
        return [_canonical("fps", item) for item in value]
    if name == "prompts" and isinstance(value, list):
        return [_canonical_entry(entry) for entry in value]
    return value


def _canonical_entry(entry: Any) -> Any:
    if not isinstance(entry, dict) or "at_s" not in entry:
        return entry
    return {**entry, "at_s": _canonical("fps", entry["at_s"])}


def plain_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Metadata as JSON has it: dates, times and decimals of Parquet become text.

    Raises:
        ValueError: it holds what JSON has no place for, or is too large.
    """
    plain = {key: _plain(value) for key, value in metadata.items()}
    try:
        text = json.dumps(plain, allow_nan=False, ensure_ascii=False).encode()
    except TypeError as error:
        raise ValueError(
            f"got {shown(metadata)}, expected JSON values ({error}). Fix: leave the column out"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"got {shown(metadata)}, expected finite numbers and text without lone surrogates"
        ) from error
    if len(text) > MAX_METADATA_BYTES:
        raise ValueError(
            f"got {len(text)} bytes of JSON, expected at most {MAX_METADATA_BYTES}. Fix: keep a "
            "key here and the data elsewhere"
        )
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal | timedelta) else value
