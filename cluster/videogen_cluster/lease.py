"""What the scheduler hands out: one attempt of one item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Lease:
    """One attempt of one item, held by one gang; `repeat` says that it was leased before."""

    number: int
    item_id: str
    gang: int
    payload: Mapping[str, Any]
    attempt: int
    degrade: int
    exclusive: bool
    repeat: bool = False
