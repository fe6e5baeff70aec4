"""Takes secrets out of text before it is written or shown: a store's error may quote a request."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping

HIDDEN = "***"
SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "RAY_AUTH_TOKEN")
_MIN_CHARACTERS = 8  # shorter values are no secrets, and would blank out half of a sentence
_USERINFO = re.compile(r"(?<=://)[^/\s@'\"]+@")
_SIGNED = re.compile(
    r"(?i)\b((?:x-amz-(?:signature|credential|security-token)|signature|awsaccesskeyid)=)[^&\s'\"]+"
)
_BEARER = re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}")
_ACCESS_KEY = re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{12,}\b")


def redact(text: str, environment: Mapping[str, str] | None = None) -> str:
    """`text` without the secrets of this process, user names in addresses and signatures.

    Args:
        environment: where the secrets are named; None is that of this process.
    """
    found = os.environ if environment is None else environment
    for name in SECRET_VARIABLES:
        secret = found.get(name, "")
        if len(secret) >= _MIN_CHARACTERS:
            text = text.replace(secret, HIDDEN)
    text = _USERINFO.sub(f"{HIDDEN}@", text)
    text = _SIGNED.sub(rf"\g<1>{HIDDEN}", text)
    text = _BEARER.sub(rf"\g<1>{HIDDEN}", text)
    return _ACCESS_KEY.sub(HIDDEN, text)


class RedactingFormatter(logging.Formatter):
    """Of log lines: whatever a library quotes in one, no secret reaches the screen."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))
