"""Every format, gzipped or not, gives the same rows."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import io
import json
import random
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from videogen_pipelines.manifest import ManifestError, sources

ROWS: list[dict[str, Any]] = [
    {"id": "a", "prompt": 'a "red", circle', "seed": 7, "fps": 24, "metadata": {"k": [1, None]}},
    {"prompt": "zwei\nZeilen, größer", "guidance_interval": [0, 0.5], "negative_prompt": "blau"},
    {"prompt": "plain", "num_frames": 33, "sampler": "ddim"},
    {"prompt": "plain", "num_frames": 33, "sampler": "ddim"},
]
COLUMNS = list(dict.fromkeys(name for row in ROWS for name in row))


def as_jsonl() -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def as_csv() -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for row in ROWS:
        cells = dict(row)
        if "metadata" in row:
            cells["metadata"] = json.dumps(row["metadata"])
        if "guidance_interval" in row:
            cells["guidance_interval"] = "0, 0.5"
        writer.writerow(cells)
    return text.getvalue().encode()


def as_parquet(**options: Any) -> bytes:
    # A column of objects has one type: the metadata of row 1 as Arrow has it.
    columns = {name: [row.get(name) for row in ROWS] for name in COLUMNS}
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer, **options)
    return buffer.getvalue()


FORMATS = {"rows.jsonl": as_jsonl, "rows.csv": as_csv, "rows.parquet": as_parquet}


@pytest.mark.parametrize("gzipped", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_clips(manifest, name: str, gzipped: bool) -> None:
    expected = manifest("expected.jsonl", as_jsonl()).requests()
    content = FORMATS[name]()
    file = manifest(f"{name}.gz", gzip.compress(content)) if gzipped else manifest(name, content)
    assert file.requests() == expected
    assert [clip.prompt for clip in expected] == [row["prompt"] for row in ROWS]
    assert expected[0].metadata == {"k": [1, None]}


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_gzip_is_recognised_by_content_whatever_the_name_says(manifest, name: str) -> None:
    content = FORMATS[name]()
    assert len(manifest(name, gzip.compress(content)).requests()) == 4
    assert len(manifest(f"{name}.gz", content).requests()) == 4


def test_gzip_of_several_members_is_one_file(manifest) -> None:
    file = manifest("p.txt.gz", gzip.compress(b"a\nb\n") + gzip.compress(b"c\n"))
    assert [clip.prompt for clip in file.requests()] == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["p.jsonl", "p.ndjson", "P.JSONL", "p.JSONL.GZ"])
def test_the_extension_names_the_format(manifest, name: str) -> None:
    assert [clip.prompt for clip in manifest(name, '{"prompt": "a"}').requests()] == ["a"]


def test_a_named_format_beats_the_extension(manifest) -> None:
    file = manifest("p.txt", '{"prompt": "a"}', format="jsonl")
    assert [clip.prompt for clip in file.requests()] == ["a"]


def test_text_is_a_prompt_a_line_without_blank_ones(manifest) -> None:
    file = manifest("p.txt", "\ufeff a red circle \r\n\n\t\nsecond, line\u2028of it\nlast")
    prompts = [clip.prompt for clip in file.requests()]
    assert prompts == ["a red circle", "second, line\u2028of it", "last"]


def test_a_byte_order_mark_is_no_part_of_the_first_name(manifest) -> None:
    for name, text in {"p.jsonl": '{"prompt": "a"}\n', "p.csv": "prompt,seed\na,3\n"}.items():
        assert manifest(name, f"\ufeff{text}").requests()[0].prompt == "a"


def test_blank_lines_are_no_rows_but_count_as_lines(manifest) -> None:
    file = manifest("p.jsonl", '\n{"prompt": "a"}\n   \n{"prompt": 3}\n\n')
    assert file.report().num_rows == 2
    assert file.errors()[0].startswith("line 4: prompt: got 3, expected a string")


def test_rows_of_a_csv_know_their_line(manifest) -> None:
    file = manifest("p.csv", 'prompt,seed\n"two\nlines",1\n\nb,x\n')
    assert file.errors()[0].startswith("row 2 (line 5): seed: got 'x', expected an integer")


def test_null_and_an_empty_cell_mean_not_said(manifest) -> None:
    said = manifest("a.jsonl", '{"prompt": "a"}').requests()
    assert manifest("b.jsonl", '{"prompt": "a", "seed": null, "fps": null}').requests() == said
    assert manifest("c.csv", "prompt,seed,fps,metadata\na,, ,\n").requests() == said


def test_cells_are_read_by_the_type_of_their_field(manifest) -> None:
    header = "id,prompt,seed,fps,guidance_interval,metadata,sampler,eta"
    row = '12, 3 ,+7, 1e1,[0.25;0.5],"{""n"": 1}", ddim ,.5'.replace(";", ",")
    row = row.replace("[0.25,0.5]", '"[0.25,0.5]"')
    [clip] = manifest("p.csv", f"{header}\n{row}\n").requests()
    assert (clip.id, clip.prompt, clip.seed, clip.fps) == ("12", " 3 ", 7, 10.0)
    assert (clip.guidance_interval, clip.sampler, clip.eta) == ((0.25, 0.5), "ddim", 0.5)
    assert clip.metadata == {"n": 1}


def test_parquet_is_read_in_batches_over_row_groups(manifest) -> None:
    buffer = io.BytesIO()
    prompts = [f"prompt {index}" for index in range(10_000)]
    parquet.write_table(pa.table({"prompt": prompts}), buffer, row_group_size=3000)
    clips = manifest("p.parquet", buffer.getvalue()).requests()
    assert [clip.prompt for clip in clips] == prompts


def test_parquet_dates_and_decimals_become_text_in_metadata(manifest) -> None:
    table = pa.table(
        {
            "prompt": ["a"],
            "made": [datetime.datetime(2024, 2, 29, 12)],
            "price": [decimal.Decimal("1.50")],
            "metadata": [{"day": datetime.date(2024, 1, 1)}],
        }
    )
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    [clip] = manifest("p.parquet", buffer.getvalue(), extra_columns="metadata").requests()
    assert clip.metadata == {"day": "2024-01-01", "made": "2024-02-29T12:00:00", "price": "1.50"}


def test_bytes_have_no_place_in_metadata(manifest) -> None:
    buffer = io.BytesIO()
    parquet.write_table(pa.table({"prompt": ["a"], "picture": [b"\x89PNG"]}), buffer)
    file = manifest("p.parquet", buffer.getvalue(), extra_columns="metadata")
    assert file.errors() == [
        "row 1: metadata: got {'picture': b'\\x89PNG'}, expected JSON values (Object of type "
        "bytes is not JSON serializable). Fix: leave the column out."
    ]
    ignoring = manifest("p.parquet", buffer.getvalue(), extra_columns="ignore")
    assert ignoring.requests()[0].metadata == {}


def test_damage_in_the_middle_of_a_parquet_file_is_named(manifest) -> None:
    rng = random.Random(0)
    buffer = io.BytesIO()
    prompts = ["".join(rng.choices("abcdef", k=40)) for _ in range(20_000)]
    parquet.write_table(
        pa.table({"prompt": prompts}),
        buffer,
        row_group_size=5000,
        compression="zstd",
        use_dictionary=False,
    )
    content = bytearray(buffer.getvalue())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    with pytest.raises(
        ManifestError, match=r"got damaged data after row \d+ .*expected a complete"
    ):
        manifest("p.parquet", bytes(content)).report()


def test_a_line_without_end_is_not_read_into_memory(
    manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_LINE_BYTES", 2**20)
    file = manifest("p.txt", b"short\n" + b"x" * 2**21)
    with pytest.raises(ManifestError, match="line 2: got a longer line, expected lines shorter"):
        file.report()
