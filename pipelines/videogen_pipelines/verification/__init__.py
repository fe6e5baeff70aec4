"""Proof from storage alone that a run holds exactly one clip per row, and the mending of it."""

from __future__ import annotations
