from __future__ import annotations

import pytest

from videogen.errors import ConfigError
from videogen_pipelines.report.links import check_base, relative_base


@pytest.mark.parametrize(
    ("report", "clips", "base"),
    [
        ("/runs/a/report", "/runs/a", "../"),
        ("/runs/a", "/runs/a", ""),
        ("/pages/x", "/runs/a", "../../runs/a/"),
        ("/pages", "/my runs/50% #1", "../my%20runs/50%25%20%231/"),
        ("s3://b/runs/a/report", "s3://b/runs/a", "../"),
        ("s3://b/pages", "s3://b", "../"),
        ("s3://b", "s3://b/runs/a", "runs/a/"),
        ("s3://b/pages", "s3://other/runs", None),
        ("/pages", "s3://b/runs", None),
        ("s3://b/pages", "/runs", None),
    ],
)
def test_links_are_relative_or_there_is_none(report: str, clips: str, base: str | None):
    assert relative_base(report, clips) == base


def test_where_there_is_none_copies_are_proposed():
    with pytest.raises(ConfigError, match=r"s3://b/x.*Fix: add --copy"):
        check_base("/pages", "s3://b/x")
