"""Manifests: files of prompts, read strictly and one row at a time."""

from __future__ import annotations

from videogen_pipelines.manifest.columns import parse_column_map
from videogen_pipelines.manifest.problems import ManifestError, RowError
from videogen_pipelines.manifest.validation import (
    InvalidRow,
    ManifestOptions,
    ManifestReport,
    iter_requests,
    validate_manifest,
)

__all__ = [
    "InvalidRow",
    "ManifestError",
    "ManifestOptions",
    "ManifestReport",
    "RowError",
    "iter_requests",
    "parse_column_map",
    "validate_manifest",
]
