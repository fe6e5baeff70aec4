"""Columns become fields, and the others go where they are told to."""

from __future__ import annotations

import pytest

from videogen.errors import ConfigError
from videogen_pipelines.manifest import parse_column_map


def test_map_entries_are_field_and_column() -> None:
    assert parse_column_map(["prompt=prompt_en", " id = video id "]) == {
        "prompt": "prompt_en",
        "id": "video id",
    }


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["prompt"], "--map: got 'prompt', expected field=column. Fix: for example"),
        (["=x"], "--map: got '=x', expected field=column"),
        (["prompt="], "--map: got 'prompt=', expected field=column"),
        (["promt=x"], "--map promt=x: got the field 'promt', expected one of id, prompt,"),
        (["id=a", "id=b"], "--map id=b: got 'id' again, expected each field once"),
    ],
)
def test_a_malformed_map_is_named(entries: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_column_map(entries)
    assert str(caught.value).startswith(message)


def test_a_mapped_column_is_the_field(manifest) -> None:
    file = manifest(
        "p.csv", "caption,n\na red circle,9\n", columns={"prompt": "caption", "num_frames": "n"}
    )
    [clip] = file.requests()
    assert (clip.prompt, clip.num_frames) == ("a red circle", 9)


def test_one_column_may_be_two_fields(manifest) -> None:
    [clip] = manifest("p.csv", "name\nball\n", columns={"prompt": "name", "id": "name"}).requests()
    assert (clip.id, clip.prompt) == ("ball", "ball")


def test_a_renamed_column_does_not_change_the_clip(manifest) -> None:
    plain = manifest("a.csv", "prompt,fps\nx,8\n").requests()
    assert manifest("b.csv", "text,fps\nx,8\n", columns={"prompt": "text"}).requests() == plain


@pytest.mark.parametrize("name", ["p.jsonl", "p.csv"])
def test_unknown_columns_travel_in_metadata_beside_what_is_there(manifest, name: str) -> None:
    content = {
        "p.jsonl": '{"prompt": "a", "style": "oil", "metadata": {"k": 1}}\n{"prompt": "b"}',
        "p.csv": 'prompt,style,metadata\na,oil,"{""k"": 1}"\nb,,\n',
    }[name]
    clips = manifest(name, content, extra_columns="metadata").requests()
    assert [clip.metadata for clip in clips] == [{"k": 1, "style": "oil"}, {}]
    ignored = manifest(name, content, extra_columns="ignore").requests()
    assert [clip.metadata for clip in ignored] == [{"k": 1}, {}]


def test_a_column_of_a_mapped_fields_name_is_an_extra_one(manifest) -> None:
    content = "prompt,prompt_en\nrot,red\n"
    columns = {"prompt": "prompt_en"}
    [clip] = manifest("p.csv", content, columns=columns, extra_columns="metadata").requests()
    assert (clip.prompt, clip.metadata) == ("red", {"prompt": "rot"})


def test_a_key_cannot_be_both_column_and_metadata(manifest) -> None:
    file = manifest(
        "p.jsonl", '{"prompt": "a", "k": 1, "metadata": {"k": 2}}', extra_columns="metadata"
    )
    assert file.errors() == [
        "line 1: metadata.k: got a column and a key of metadata, expected one of the two. "
        "Fix: rename one."
    ]
