"""A named table of implementations whose lookups fail with the known names."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Generic, TypeVar

from videogen.errors import ConfigError

T = TypeVar("T")


def did_you_mean(name: str, known: list[str]) -> str:
    """A sentence that lists `known` and, where one is close to `name`, says which."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"expected one of {', '.join(known)}.{hint}"


class Registry(Generic[T]):
    """Maps names to values; `kind` is the noun used in error messages."""

    def __init__(self, kind: str, entries: dict[str, T]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> T:
        """Return the entry called `name`.

        Raises:
            ConfigError: no entry has that name; the message lists all names.
        """
        if name not in self._entries:
            raise ConfigError(f"{self.kind}: got '{name}', {did_you_mean(name, self.names())}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def names(self) -> list[str]:
        return sorted(self._entries)
