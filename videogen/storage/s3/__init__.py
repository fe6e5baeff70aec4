"""Storage in S3 and in stores that speak its protocol."""

from __future__ import annotations

from videogen.storage.s3.options import S3Options
from videogen.storage.s3.probe import Capabilities
from videogen.storage.s3.storage import S3Storage, Stored

__all__ = ["Capabilities", "S3Options", "S3Storage", "Stored"]
