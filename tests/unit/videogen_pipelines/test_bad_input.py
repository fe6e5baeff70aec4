"""The table of bad manifests, and what a person is told, word for word."""

from __future__ import annotations

import gzip
import io
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from videogen.errors import InvalidRequestError
from videogen.extension.plan import plan_clip
from videogen.models.spec import ModelSpec, read_spec
from videogen.requests import SAMPLERS, ClipRequest, SamplingDefaults
from videogen_pipelines.manifest import ManifestOptions, parse_column_map, validate_manifest

FIELDS = ", ".join((*ClipRequest.model_fields, "duration_s"))
MAX_SEED = 9223372036854775807
CARRY_ALONG = "rename it (--map FIELD=COLUMN), or carry it along: --extra-columns metadata."
ID_RULE = (
    "expected 1 to 128 letters, digits, '.', '_' or '-', starting with a letter or digit, because "
    "it becomes a file name. Fix: rename it, or leave id out."
)
SAVE_AS_UTF8 = "expected UTF-8 text. Fix: save the file as UTF-8."
TRUNCATED_GZIP = gzip.compress(b"a red circle\n" * 10_000)[:-20]
DEFAULTS = SamplingDefaults(
    num_frames=17,
    height=64,
    width=64,
    fps=12.0,
    num_inference_steps=8,
    guidance_scale=3.0,
    sampler="euler",
)


def parquet_bytes(**columns: Any) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def message_of(path: Path, spec: ModelSpec, **options: Any) -> str:
    """What the validation of a manifest says, without the path of the file."""
    with pytest.raises(InvalidRequestError) as caught:
        check = partial(plan_clip, spec)
        report = validate_manifest(path, DEFAULTS, check, ManifestOptions(**options))
        report.raise_if_bad()
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return "\n".join(line.removeprefix(f"{path}: ") for line in lines)


@pytest.fixture(scope="module")
def spec(tiny_model: Path) -> ModelSpec:
    return read_spec(tiny_model)


# One JSONL row -> the whole message.
ROWS = {
    "a loop of 82 frames": (
        '{"prompt": "a", "num_frames": 82, "loop": true, "chunk_frames": 33}',
        "line 1: num_frames: got 82, expected a multiple of 4, or one more, of at least 13 (80, "
        "81, 84) with loop, because the VAE compresses time by 4",
    ),
    "a loop of as many seconds": (
        '{"prompt": "a", "duration_s": 6.8333, "loop": true, "chunk_frames": 33}',
        "line 1: duration_s: got 6.8333, which is 82 frames, expected a multiple of 4, or one "
        "more, of at least 13 (80, 81, 84) with loop, because the VAE compresses time by 4",
    ),
    "more than one window without extension": (
        '{"prompt": "a", "num_frames": 21, "extension": "none"}',
        "line 1: num_frames: got 21, expected at most 13 with extension 'none', 2 times the "
        "window of 5 frames. Fix: use extension 'auto'.",
    ),
    "two lengths": (
        '{"prompt": "a", "num_frames": 33, "duration_s": 2}',
        "line 1: duration_s: got 2, and num_frames 33, expected one of the two. "
        "Fix: leave one out.",
    ),
    "a duration of nothing": (
        '{"prompt": "a", "duration_s": 0}',
        "line 1: duration_s: got 0, expected a finite number of seconds above 0",
    ),
    "a duration in words": (
        '{"prompt": "a", "duration_s": "5 minutes"}',
        "line 1: duration_s: got '5 minutes', expected a finite number of seconds above 0",
    ),
    "a duration of a month": (
        '{"prompt": "a", "duration_s": 2592000}',
        "line 1: duration_s: got 2592000, expected at most 83333.3 s at 12 frames a second",
    ),
    "prompts after the end": (
        '{"prompts": [{"at_s": 0, "prompt": "a"}, {"at_s": 2, "prompt": "b"}], "duration_s": 2}',
        "line 1: prompts: got 'b' at 2 s, expected times before the end of the clip at 2 s. "
        "Fix: make the clip longer.",
    ),
    "prompts that say nothing": (
        '{"prompts": [{"at_s": 0, "prompt": "a"}, {"at_s": 1, "prompt": " "}], "num_frames": 17}',
        "line 1: prompts: got ' ' at 1 s, expected text",
    ),
    "prompts out of order": (
        '{"prompts": [{"at_s": 1, "prompt": "a"}]}',
        "line 1: prompts: got [{'at_s': 1, 'prompt': 'a'}], expected a list of {at_s, prompt}, "
        "the first at 0 seconds and each later than the one before",
    ),
    "a prompt and prompts": (
        '{"prompt": "b", "prompts": [{"at_s": 0, "prompt": "a"}]}',
        "line 1: prompts: got 'a' at 0 seconds and prompt 'b', expected one of them. "
        "Fix: leave prompt out.",
    ),
    "an unknown method": (
        '{"prompt": "a", "extension": "overlapp"}',
        "line 1: extension: got 'overlapp', expected one of auto, none, overlap, cached, windows, "
        "chained. Did you mean 'overlap'?",
    ),
    "a picture at an address that is not S3": (
        '{"prompt": "a", "image": "https://example.org/a.png"}',
        "line 1: image: got 'https://example.org/a.png', expected a path or an s3:// address",
    ),
    "a height the model cannot make": (
        '{"prompt": "a", "height": 60}',
        "line 1: height: got 60, expected a multiple of 16 (48, 64), because the VAE compresses "
        "space by 8 and the DiT takes patches of 2",
    ),
    "a negative size": (
        '{"prompt": "a", "width": -64}',
        "line 1: width: got -64, expected an integer from 1 to 8192",
    ),
    "a huge size": (
        '{"prompt": "a", "height": 100000}',
        "line 1: height: got 100000, expected an integer from 1 to 8192",
    ),
    "a number in quotes": (
        '{"prompt": "a", "num_frames": "33"}',
        "line 1: num_frames: got '33', expected an integer from 1 to 1000000. "
        "Fix: write the number without quotes.",
    ),
    "a whole number with a point": (
        '{"prompt": "a", "num_frames": 33.0}',
        "line 1: num_frames: got 33.0, expected an integer from 1 to 1000000. "
        "Fix: write 33, without a decimal point.",
    ),
    "true for a number": (
        '{"prompt": "a", "num_inference_steps": true}',
        "line 1: num_inference_steps: got True, expected an integer from 1 to 1000",
    ),
    "NaN": (
        '{"prompt": "a", "guidance_scale": NaN}',
        "line 1: guidance_scale: got nan, expected a finite number from 0 to 100",
    ),
    "Infinity": (
        '{"prompt": "a", "flow_shift": -Infinity}',
        "line 1: flow_shift: got -inf, expected a finite number above 0 and at most 100",
    ),
    "a number beyond any float": (
        '{"prompt": "a", "guidance_scale": 1e999}',
        "line 1: guidance_scale: got inf, expected a finite number from 0 to 100",
    ),
    "fps 0": (
        '{"prompt": "a", "fps": 0}',
        "line 1: fps: got 0, expected a finite number above 0 and at most 240",
    ),
    "a negative seed": (
        '{"prompt": "a", "seed": -1}',
        f"line 1: seed: got -1, expected an integer from 0 to {MAX_SEED}",
    ),
    "a seed too large": (
        '{"prompt": "a", "seed": 9223372036854775808}',
        f"line 1: seed: got 9223372036854775808, expected an integer from 0 to {MAX_SEED}",
    ),
    "an interval the wrong way round": (
        '{"prompt": "a", "guidance_interval": [0.9, 0.1]}',
        "line 1: guidance_interval: got [0.9, 0.1], expected [low, high] with 0 <= low <= high "
        "<= 1, fractions of the denoising steps",
    ),
    "an unknown sampler": (
        '{"prompt": "a", "sampler": "eular"}',
        f"line 1: sampler: got 'eular', expected one of {', '.join(SAMPLERS)}. "
        "Did you mean 'euler'?",
    ),
    "metadata that is a list": (
        '{"prompt": "a", "metadata": ["x"]}',
        "line 1: metadata: got ['x'], expected an object (a mapping of names to values)",
    ),
    "NaN in metadata": (
        '{"prompt": "a", "metadata": {"score": NaN}}',
        "line 1: metadata: got {'score': nan}, expected finite numbers and text without lone "
        "surrogates",
    ),
    "an unknown field": (
        '{"prompt": "a", "steps": 4}',
        f"line 1: steps: unknown field, expected one of {FIELDS}. Did you mean 'async_steps'? "
        f"Fix: {CARRY_ALONG}",
    ),
    "a misspelt field": (
        '{"prompt": "a", "num_frame": 9}',
        f"line 1: num_frame: unknown field, expected one of {FIELDS}. Did you mean 'num_frames'? "
        f"Fix: {CARRY_ALONG}",
    ),
    "no prompt": (
        '{"seed": 1}',
        "line 1: prompt: missing, expected a string of at most 4096 characters",
    ),
    "a prompt that is null": (
        '{"prompt": null}',
        "line 1: prompt: missing, expected a string of at most 4096 characters",
    ),
    "a blank prompt": (
        '{"prompt": " \\t"}',
        "line 1: prompt: got ' \\t', expected text. Fix: write one or remove the row.",
    ),
    "a prompt over the limit": (
        '{"prompt": "' + "x" * 4097 + '"}',
        "line 1: prompt: got 4097 characters, expected a string of at most 4096 characters. "
        "Fix: shorten it.",
    ),
    "a prompt of half a character": (
        '{"prompt": "\\ud83d"}',
        "line 1: prompt: got '\\ud83d', expected text without lone surrogates",
    ),
    "a NUL in a prompt": (
        '{"prompt": "a\\u0000b"}',
        "line 1: prompt: got a NUL character, expected text. Fix: remove it.",
    ),
    "an id that is a path": (
        '{"id": "../../x", "prompt": "a"}',
        f"line 1: id: got '../../x', {ID_RULE}",
    ),
    "an empty id": ('{"id": "", "prompt": "a"}', f"line 1: id: got '', {ID_RULE}"),
    "an id that is a number": (
        '{"id": 17, "prompt": "a"}',
        "line 1: id: got 17, expected a string. Fix: write it as text.",
    ),
    "an id twice": (
        '{"id": "x", "prompt": "a"}\n{"prompt": "b"}\n{"id": "x", "prompt": "c"}',
        "line 3: id: got 'x', expected an id used once, but line 1 has it already. "
        "Fix: rename one of the two.",
    ),
    "a key twice": (
        '{"prompt": "a", "prompt": "b"}',
        "line 1: prompt: got the key twice, expected each key once. Fix: remove one.",
    ),
    "a list for a row": (
        '["a red circle"]',
        'line 1: got [\'a red circle\'], expected one JSON object a line, such as {"prompt": "…"}',
    ),
    "broken JSON": (
        '{"prompt": "a"}\n{"prompt": "b" "seed": 1}\n{"prompt": "c"}',
        "line 2: got expecting ',' delimiter at column 16, expected valid JSON. "
        "Fix: check quotes, commas and braces.",
    ),
    "a cut off last line": (
        '{"prompt": "a"}\n{"prompt": "b',
        "line 2: got unterminated string starting at column 12, expected valid JSON. "
        "Fix: check quotes, commas and braces.",
    ),
    "one list around all rows": (
        '[\n{"prompt": "a"}\n]',
        "line 1: got expecting value at column 1, expected valid JSON. Fix: write one object a "
        "line, without a list around them.\n"
        "line 3: got expecting value at column 1, expected valid JSON. Fix: write one object a "
        "line, without a list around them.",
    ),
    "plain prompts": (
        "a red circle",
        "line 1: got expecting value at column 1, expected valid JSON. Fix: give a file of plain "
        "prompts the extension .txt.",
    ),
    "three mistakes in a row": (
        '{"prompt": "", "fps": 0, "sed": 1}',
        f"line 1: sed: unknown field, expected one of {FIELDS}. Did you mean 'seed'? "
        f"Fix: {CARRY_ALONG}\n"
        "line 1: fps: got 0, expected a finite number above 0 and at most 240",
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_a_bad_row(case: str, tmp_path: Path, spec: ModelSpec) -> None:
    content, message = ROWS[case]
    path = tmp_path / "prompts.jsonl"
    path.write_text(content)
    assert message_of(path, spec) == message


# File name and bytes -> the whole message.
FILES = {
    "an empty file": ("p.jsonl", b"", "got no rows, expected at least one prompt. Fix: add one."),
    "blank lines only": (
        "p.txt",
        b"\n \n",
        "got no rows, expected at least one prompt. Fix: add one.",
    ),
    "a header and no row": (
        "p.csv",
        b"prompt,seed\n",
        "got no rows, expected at least one prompt. Fix: add one.",
    ),
    "an unknown extension": (
        "p.xlsx",
        b"PK",
        "got the extension '.xlsx', expected one of .jsonl, .ndjson, .csv, .parquet, .txt, each "
        "with or without .gz. Fix: rename the file, or name its format with --format.",
    ),
    "no extension": (
        "prompts",
        b"a",
        "got the extension '', expected one of .jsonl, .ndjson, .csv, .parquet, .txt, each with "
        "or without .gz. Fix: rename the file, or name its format with --format.",
    ),
    "broken UTF-8 in JSONL": (
        "p.jsonl",
        b'{"prompt": "a"}\n{"prompt": "gr\xfcn"}\n',
        f"line 2: got byte 0xfc at position 15, {SAVE_AS_UTF8}",
    ),
    "broken UTF-8 in text": (
        "p.txt",
        b"red\n\xe9\n",
        f"line 2: got byte 0xe9 at position 1, {SAVE_AS_UTF8}",
    ),
    "broken UTF-8 in a CSV": (
        "p.csv",
        b"prompt\nred\ngr\xfcn\n",
        f"row 2 (line 3): prompt: got byte 0xfc, {SAVE_AS_UTF8}",
    ),
    "UTF-16": (
        "p.txt",
        "a red circle".encode("utf-16"),
        "got UTF-16 text, expected UTF-8 text. Fix: save it as UTF-8 (iconv -t UTF-8).",
    ),
    "a truncated gzip": (
        "p.txt.gz",
        TRUNCATED_GZIP,
        "(Compressed file ended before the end-of-stream marker was reached), expected a "
        "complete, readable file. Fix: write or copy it again.",
    ),
    "a gzip with a wrong checksum": (
        "p.txt.gz",
        gzip.compress(b"a\n")[:-8] + bytes(8),
        "got damaged data (CRC check failed 0x0 != 0xddeaa107), expected a readable file. "
        "Fix: write or copy it again.",
    ),
    "a ragged row": (
        "p.csv",
        b"prompt,seed\na,1\nb, c,2\n",
        "row 2 (line 3): got 3 values, expected 2 values, one for each column of the header. "
        "Fix: put values that hold a comma in double quotes.",
    ),
    "a CSV without a header": (
        "p.csv",
        b"a red circle,1\na blue circle,2\n",
        "header: prompt: missing, expected a column 'prompt'; the columns are 'a red circle, 1'. "
        "Fix: name the columns in the first line, or say which one it is: --map prompt=COLUMN.",
    ),
    "a CSV with semicolons": (
        "p.csv",
        b"prompt;seed\na;1\n",
        "header: prompt: missing, expected a column 'prompt'; the columns are 'prompt;seed'. "
        "Fix: separate the columns by commas.",
    ),
    "a misspelt prompt column": (
        "p.csv",
        b"promt,seed\na,1\n",
        "header: prompt: missing, expected a column 'prompt'; the columns are 'promt, seed'. "
        "Fix: --map prompt=promt.",
    ),
    "an unknown column": (
        "p.csv",
        b"prompt,style\na,oil\n",
        f"header: style: unknown field, expected one of {FIELDS}. Fix: {CARRY_ALONG}",
    ),
    "a column twice": (
        "p.csv",
        b"prompt,seed,prompt\na,1,b\n",
        "header: prompt: got 2 columns of that name, expected one. Fix: rename them.",
    ),
    "an open quote": (
        "p.csv",
        b'prompt\na\n"b\nc\n',
        "row 2 (line 3): got unexpected end of data, expected CSV. Fix: check the quotes: one that "
        "is never closed hides the rows after it.",
    ),
    "cells of another type": (
        "p.csv",
        b'prompt,seed,fps,metadata\na,1.5,fast,"{""a"""\n',
        f"row 1 (line 2): seed: got 1.5, expected an integer from 0 to {MAX_SEED}\n"
        "row 1 (line 2): fps: got 'fast', expected a finite number above 0 and at most 240\n"
        "row 1 (line 2): metadata: got '{\"a\"', expected an object (a mapping of names to values)",
    ),
    "a truncated Parquet file": (
        "p.parquet",
        parquet_bytes(prompt=["a"])[:-30],
        "got damaged data after row 0 (Parquet magic bytes not found in footer. Either the file is "
        "corrupted or this is not a parquet file), expected a complete Parquet file. "
        "Fix: write or copy it again.",
    ),
    "a CSV called Parquet": (
        "p.parquet",
        b"prompt\na\n",
        "got a file that starts with b'prom', expected Parquet, which starts with b'PAR1'. "
        "Fix: write it again, or name its format with --format.",
    ),
    "a Parquet file called CSV": (
        "p.csv",
        parquet_bytes(prompt=["a"]),
        "got a Parquet file, expected csv. Fix: rename it to end in .parquet.",
    ),
    "a Parquet column of another type": (
        "p.parquet",
        parquet_bytes(prompt=["a", "b"], num_frames=[17.0, 33.0]),
        "row 1: num_frames: got 17.0, expected an integer from 1 to 1000000. "
        "Fix: write 17, without a decimal point.\n"
        "row 2: num_frames: got 33.0, expected an integer from 1 to 1000000. "
        "Fix: write 33, without a decimal point.",
    ),
    "an unknown Parquet column": (
        "p.parquet",
        parquet_bytes(prompt=["a"], style=["oil"]),
        f"header: style: unknown field, expected one of {FIELDS}. Fix: {CARRY_ALONG}",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_a_bad_file(case: str, tmp_path: Path, spec: ModelSpec) -> None:
    name, content, message = FILES[case]
    path = tmp_path / name
    path.write_bytes(content)
    said = message_of(path, spec)
    assert said.endswith(message) if case == "a truncated gzip" else said == message


def test_a_missing_file_names_one_that_is_close(tmp_path: Path, spec: ModelSpec) -> None:
    (tmp_path / "prompts.jsonl").write_text("{}")
    assert message_of(tmp_path / "prompt.jsonl", spec) == (
        f"got no such file, expected a manifest. Fix: did you mean '{tmp_path}/prompts.jsonl'?"
    )


def test_a_folder_is_no_manifest(tmp_path: Path, spec: ModelSpec) -> None:
    assert message_of(tmp_path, spec) == (
        "got a folder, expected a file. Fix: name a manifest inside it."
    )


def test_a_mapped_column_that_is_not_there(tmp_path: Path, spec: ModelSpec) -> None:
    path = tmp_path / "p.csv"
    path.write_text("prompt,prompt_en\na,b\n")
    columns = parse_column_map(["prompt=prompt_em"])
    assert message_of(path, spec, columns=columns) == (
        "header: prompt: missing, expected a column 'prompt_em'; the columns are 'prompt, "
        "prompt_en'. Fix: --map prompt=prompt_en."
    )
    path = tmp_path / "p.jsonl"
    path.write_text('{"text": "a"}\n{"caption": "b"}\n')
    said = message_of(path, spec, columns={"prompt": "text"}, extra_columns="ignore")
    assert said == (
        "line 2: prompt: missing, expected a string of at most 4096 characters. "
        "Fix: give the row the column 'text', as --map says."
    )
