"""The index of the rows says the same as comparing them one by one."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from videogen.clip_ids import clip_id
from videogen.requests import ClipRequest
from videogen_pipelines.manifest import InvalidRow
from videogen_pipelines.manifest.readers import RawRow
from videogen_pipelines.manifest.rows import ResolvedRow
from videogen_pipelines.plan import ClipShape, Plan, Planner
from videogen_pipelines.row_index import RowIndex

MODEL, VERSION = "m" * 64, "1"


def request(name: str, **fields: Any) -> ClipRequest:
    settings: dict[str, Any] = {
        "id": name,
        "prompt": "a ship",
        "seed": 7,
        "num_frames": 5,
        "height": 16,
        "width": 24,
        "fps": 8.0,
        "num_inference_steps": 4,
        "guidance_scale": 3.0,
        "sampler": "euler",
    }
    return ClipRequest(**{**settings, **fields})


def name_of(asked: ClipRequest) -> str:
    return clip_id(asked, MODEL, VERSION)


def index_of(rows: list[ClipRequest | InvalidRow]) -> RowIndex:
    index = RowIndex(MODEL, VERSION)
    for row in rows:
        raw = RawRow(1, "line 1", {})
        if isinstance(row, InvalidRow):
            index.add_row(ResolvedRow(raw, [row.id], [], []))
        else:
            index.add_row(ResolvedRow(raw, [row.id], [row], []))
    return index


STATES = ("open", "done", "conflict", "invalid", "chosen")


@given(st.lists(st.tuples(st.sampled_from(STATES), st.integers(1, 3)), max_size=30))
def test_it_says_what_a_pass_over_the_rows_says(states: list[tuple[str, int]]) -> None:
    rows: list[ClipRequest | InvalidRow] = []
    committed = {"of another manifest": "f" * 32}
    for number, (state, frames) in enumerate(states):
        name = f"{state}-{number}"
        asked = request(name, num_frames=frames)
        rows.append(InvalidRow(name, number, "bad") if state == "invalid" else asked)
        if state == "done":
            committed[name] = name_of(asked)
        elif state == "conflict":
            committed[name] = "0" * 32
    expected = Plan()
    for row in Planner(MODEL, VERSION, committed).rows(rows):
        expected.add(row)
    index = index_of(rows)
    plan, conflicts = index.compare(committed)
    assert plan == expected
    names = [f"{state}-{number}" for number, (state, _) in enumerate(states)]
    assert conflicts == [name for name in names if name.startswith("conflict")]
    chosen = [name for name in names if name.startswith("chosen")]
    some, _ = index.compare(committed, [*chosen, "unknown"])
    assert (some.to_do, some.done, some.invalid) == (len(chosen), plan.done, plan.invalid)
    assert some.total == plan.total == len(rows)
    failures = {name: name.split("-")[0] for name in [*names, "conflict-of another manifest"]}
    held, _ = index.compare(committed, chosen, failures)
    assert held.held_by_class == Counter(s for s, _ in states if s in ("open", "conflict"))


def test_nothing_is_committed_yet() -> None:
    plan, conflicts = index_of([request("a"), request("b", num_frames=9)]).compare({})
    assert conflicts == []
    shapes = Counter({ClipShape.of(request("a")): 1, ClipShape.of(request("b", num_frames=9)): 1})
    assert plan.shapes == shapes
    assert plan.done == 0


def test_an_empty_manifest() -> None:
    assert RowIndex(MODEL, VERSION).compare({"a": "0" * 32}) == (Plan(), [])


def test_a_clip_id_of_another_kind_is_another_clip() -> None:
    """Sidecars of other tools: what is no hexadecimal number is compared all the same."""
    asked = request("a")
    assert index_of([asked]).compare({"a": "not hexadecimal"})[1] == ["a"]
