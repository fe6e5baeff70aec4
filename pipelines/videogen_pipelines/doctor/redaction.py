"""Keeps credentials out of what is shown, whatever library wrote the text."""

from __future__ import annotations

import os
import re

_VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "RAY_AUTH_TOKEN",
)
_USERINFO = re.compile(r"(?<=://)[^/\s@'\"]+@")
_SIGNATURE = re.compile(r"(?i)\b(X-Amz-(?:Signature|Security-Token|Credential))=[^&\s'\"]+")
_MIN_SECRET = 6  # a shorter one would blank out ordinary words
HIDDEN = "…"


def redact(text: str) -> str:
    """`text` without secrets of the environment, credentials in URLs and signatures."""
    for name in _VARIABLES:
        value = os.environ.get(name, "")
        if len(value) >= _MIN_SECRET:
            text = text.replace(value, HIDDEN)
    text = _USERINFO.sub(f"{HIDDEN}@", text)
    return _SIGNATURE.sub(rf"\1={HIDDEN}", text)
