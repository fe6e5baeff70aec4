"""Ids and seeds depend on what a row says, never on where it stands."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from videogen.errors import InvalidRequestError
from videogen.requests import check_id
from videogen_pipelines.manifest import InvalidRow
from videogen_pipelines.manifest.identity import Identities, sample_seed

Rows = list[dict[str, Any]]

# Few values, so that repeats, clashes of given ids with generated names, and bad rows are common.
rows = st.lists(
    st.fixed_dictionaries(
        {"prompt": st.sampled_from(["a", "b", "", 3])},
        optional={
            "id": st.sampled_from(["x", "y", "row-1", "row-2", "x-s0", "../x", "z" * 128]),
            "seed": st.sampled_from([1, 2, -1]),
            "num_frames": st.sampled_from([17, 33, 80]),
        },
    ),
    min_size=1,
    max_size=8,
)
good_rows = st.lists(
    st.fixed_dictionaries(
        {"prompt": st.sampled_from("abc")}, optional={"seed": st.sampled_from([1, 2])}
    ),
    min_size=1,
    max_size=8,
)
repeated = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def lines(rows: Rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_generated_ids_and_seeds_do_not_change_between_releases(manifest) -> None:
    [first, repeat, other] = manifest(
        "p.jsonl", '{"prompt": "a"}\n{"prompt": "a"}\n{"prompt": "a", "fps": 24}\n'
    ).requests()
    assert (first.id, first.seed) == ("2bcc935a1e7f69a4", 4841387731667965470)
    assert (repeat.id, repeat.seed) == ("2bcc935a1e7f69a4-2", 7345888840866040518)
    assert other.id == "ffcd0b086cd12d9f"


@given(rows=good_rows, data=st.data())
@repeated
def test_reordering_rows_changes_no_clip(manifest, rows: Rows, data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(rows))
    before = manifest("a.jsonl", lines(rows)).requests()
    after = manifest("b.jsonl", lines(shuffled)).requests()
    assert sorted(clip.id for clip in before) == sorted(clip.id for clip in after)
    assert {clip.id: clip for clip in before} == {clip.id: clip for clip in after}


@given(rows=good_rows, more=good_rows)
@repeated
def test_appending_rows_changes_no_clip(manifest, rows: Rows, more: Rows) -> None:
    before = manifest("a.jsonl", lines(rows)).requests()
    assert manifest("b.jsonl", lines(rows + more)).requests()[: len(rows)] == before


@given(rows=good_rows, fewer=st.integers(1, 3), more=st.integers(0, 3))
@repeated
def test_more_samples_change_no_earlier_one(manifest, rows: Rows, fewer: int, more: int) -> None:
    before = manifest("a.jsonl", lines(rows), num_samples=fewer).requests()
    after = {
        clip.id: clip
        for clip in manifest("a.jsonl", lines(rows), num_samples=fewer + more).requests()
    }
    assert len(before) == len(rows) * fewer
    assert len(after) == len(rows) * (fewer + more)
    assert all(after[clip.id] == clip for clip in before)


def test_sample_0_is_the_clip_itself_and_the_others_differ(manifest) -> None:
    text = '{"id": "x", "prompt": "a", "seed": 7}\n{"prompt": "b"}\n'
    plain = manifest("p.jsonl", text).requests()
    samples = manifest("p.jsonl", text, num_samples=3).requests()
    assert [clip.id for clip in samples[:3]] == ["x-s0", "x-s1", "x-s2"]
    assert [samples[0].seed, samples[3].seed] == [clip.seed for clip in plain]
    assert len({clip.seed for clip in samples}) == 6


def test_samples_of_neighbouring_seeds_share_no_seed() -> None:
    seeds = [sample_seed(seed, index) for seed in range(50) for index in range(20)]
    assert len(set(seeds)) == 1000


@given(rows=rows, num_samples=st.sampled_from([None, 1, 2]))
@repeated
def test_every_clip_asked_for_is_a_request_or_a_named_failure(
    manifest, rows: Rows, num_samples: int | None
) -> None:
    file = manifest("p.jsonl", lines(rows), num_samples=num_samples)
    items, report = file.items(), file.report()
    ids = [item.id for item in items]
    assert len(ids) == len(rows) * (num_samples or 1)
    assert len(set(ids)) == len(ids)
    assert all(check_id(name) for name in ids if "=bad" not in name)
    failures = [item for item in items if isinstance(item, InvalidRow)]
    assert report.num_clips == len(items) - len(failures)
    assert report.num_bad_rows == len({failure.row for failure in failures})
    assert report.num_bad_rows == len({error.row for error in report.errors})


def test_a_bad_row_keeps_its_id_and_one_without_is_called_by_its_number(manifest) -> None:
    text = '{"id": "x", "prompt": ""}\n{"prompt": ""}\n{"id": "x", "prompt": "a"}\n'
    items = manifest("p.jsonl", text).items()
    assert [(item.id, item.row) for item in items] == [("x", 1), ("row-2=bad", 2), ("row-3=bad", 3)]
    assert items[0].reason == "prompt: got '', expected text. Fix: write one or remove the row"
    assert "but line 1 has it already" in items[2].reason


def test_a_bad_row_takes_no_id_from_another(manifest) -> None:
    written = [json.dumps({"id": f"row-{number}", "prompt": "a"}) for number in range(10)]
    written[3] = '{"id": "row-3", "prompt"'
    items = manifest("p.jsonl", "\n".join(written)).items()
    names = [f"row-{number}" for number in range(10)]
    assert [item.id for item in items] == [*names[:3], "row-4=bad", *names[4:]]
    assert [item.row for item in items if isinstance(item, InvalidRow)] == [4]


def test_a_name_of_a_bad_row_is_no_id(manifest) -> None:
    bad, named = '{"prompt": ""}\n', '{"id": "row-1=bad", "prompt": "a"}\n'
    items = manifest("p.jsonl", bad + named, num_samples=2).items()
    assert [item.id for item in items] == [
        *("row-1=bad-s0", "row-1=bad-s1"),
        *("row-2=bad-s0", "row-2=bad-s1"),
    ]


def test_an_id_leaves_room_for_the_suffix_of_a_sample(manifest) -> None:
    text = json.dumps({"id": "x" * 126, "prompt": "a"})
    assert manifest("p.jsonl", text).report().num_bad_rows == 0
    [error] = manifest("p.jsonl", text, num_samples=2).errors()
    assert error.startswith("line 1: id: got 'xxx")
    assert "1 to 128 letters" in error


def test_spelling_of_numbers_does_not_matter_to_an_id(manifest) -> None:
    first = manifest(
        "a.jsonl", '{"prompt": "a", "fps": 24, "guidance_interval": [0, 1]}'
    ).requests()
    second = manifest(
        "b.jsonl", '{"guidance_interval": [0.0, 1.0], "fps": 24.0, "prompt": "a"}'
    ).requests()
    assert first == second


def test_a_given_id_is_checked() -> None:
    for name in ("../x", "", "a b", 17):
        problem = Identities(None).given(name, 1)
        assert problem is not None
        assert problem.field == "id"
    try:
        check_id("../x")
    except InvalidRequestError as error:
        assert str(Identities(None).given("../x", 1)) == str(error)
