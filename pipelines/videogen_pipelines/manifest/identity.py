"""Which id a row has, so that no two clips of a manifest share one, whatever the order of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from videogen.config import shown
from videogen.errors import InvalidRequestError
from videogen.requests import FieldProblem, check_id
from videogen.seeds import request_id_from_content, seed_from_id
from videogen_pipelines.manifest.values import canonical


def sample_seed(seed: int, index: int) -> int:
    """Seed of sample `index` of a row: sample 0 has the row's own, the others a hash of it."""
    return seed if index == 0 else seed_from_id(f"{seed}/sample-{index}")  # "/" is in no id


class Identities:
    """Hands out the ids of one manifest; remembers 16 bytes and the row of each.

    Args:
        num_samples: clips per row, called `<id>-s0`, `<id>-s1`, …; None is one called `<id>`.
        unit: what rows are counted in, for messages: "row" or "line".
    """

    def __init__(self, num_samples: int | None, unit: str = "row") -> None:
        self._num_samples = num_samples
        self._unit = unit
        self._row_of: dict[int, int] = {}
        self._repeats: Counter[str] = Counter()

    def given(self, name: Any, row: int) -> FieldProblem | None:
        """Claim the id `name` for `row`, or say why it cannot have it."""
        if not isinstance(name, str):
            return FieldProblem("id", shown(name), "a string", "write it as text")
        try:
            check_id(name)
            check_id(self.clips(name)[-1])
        except InvalidRequestError as error:
            return FieldProblem.parse(str(error))
        owner = self._claim(name, row)
        if owner is None:
            return None
        expected = f"an id used once, but {self._unit} {owner} has it already"
        return FieldProblem("id", shown(name), expected, "rename one of the two")

    def from_content(self, fields: Mapping[str, Any], row: int) -> str:
        """Claim an id for a row that has none: a hash of what it says, numbered if repeated."""
        content = canonical(fields)
        name = first = request_id_from_content(content)
        while self._claim(name, row) is not None:
            self._repeats[first] += 1
            name = request_id_from_content(content, self._repeats[first])
        return name

    def stand_in(self, row: int) -> str:
        """The name to report a row under that has no usable id; no id holds a "="."""
        return f"row-{row}=bad"

    def clips(self, name: str) -> list[str]:
        """The ids of the clips of the row called `name`."""
        if self._num_samples is None:
            return [name]
        return [f"{name}-s{index}" for index in range(self._num_samples)]

    def _claim(self, name: str, row: int) -> int | None:
        """Note that `row` is called `name`; if another one is, change nothing and say which."""
        key = int.from_bytes(blake2b(name.encode(), digest_size=16).digest(), "big")
        owner = self._row_of.setdefault(key, row)
        return None if owner == row else owner
