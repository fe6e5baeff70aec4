"""What must not be in any text that is written."""

from __future__ import annotations

import logging

import pytest

from videogen_pipelines.redact import RedactingFormatter, redact

ENVIRONMENT = {"AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG", "RAY_AUTH_TOKEN": "a1b2c3d4e5f6"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key wJalrXUtnFEMI/K7MDENG refused", "key *** refused"),
        ("token a1b2c3d4e5f6", "token ***"),
        ("https://user:pass@host:9000/b", "https://***@host:9000/b"),
        ("s3://AKIAKEY:secret@bucket/x", "s3://***@bucket/x"),
        (
            "GET /b?X-Amz-Credential=AK%2F2026&X-Amz-Signature=0f3a&partNumber=2",
            "GET /b?X-Amz-Credential=***&X-Amz-Signature=***&partNumber=2",
        ),
        ("AKIAIOSFODNN7EXAMPLE is unknown", "*** is unknown"),
        ("Authorization: Bearer abcdefgh12345678", "Authorization: Bearer ***"),
    ],
)
def test_secrets_are_hidden(text: str, expected: str):
    assert redact(text, ENVIRONMENT) == expected


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/run/clips/ab/x.mp4: got 503, expected 200. Fix: wait.",
        "mail a@b.c about https://example.org/path?part=2",
        "model digest 0f3a, bearer of news",
    ],
)
def test_everything_else_stays(text: str):
    assert redact(text, ENVIRONMENT) == text


def test_an_empty_or_tiny_secret_does_not_blank_the_text():
    assert redact("a banana", {"AWS_SECRET_ACCESS_KEY": "a", "RAY_AUTH_TOKEN": ""}) == "a banana"


def test_log_lines_are_redacted_whoever_wrote_them():
    record = logging.LogRecord(
        "botocore", logging.WARNING, "x.py", 1, "GET %s", ("http://me:pw@store/b",), None
    )
    assert RedactingFormatter("%(message)s").format(record) == "GET http://***@store/b"
