"""Two passes over a manifest: everything wrong is counted, nothing right is lost."""

from __future__ import annotations

import hashlib
import pickle
import resource
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from videogen.errors import InvalidRequestError
from videogen.requests import ClipRequest, SamplingDefaults
from videogen_pipelines.manifest import (
    InvalidRow,
    ManifestError,
    ManifestOptions,
    RowError,
    iter_requests,
    validate_manifest,
)

DEFAULT_VALUES: dict[str, Any] = {
    "num_frames": 17,
    "height": 64,
    "width": 64,
    "fps": 12.0,
    "num_inference_steps": 8,
    "guidance_scale": 3.0,
    "sampler": "euler",
}
MIXED = '{"prompt": "a"}\n{"prompt": 3, "seed": -1}\n{"id": "x", "prompt": "b", "num_frames": 80}\n'


def test_a_report_counts_rows_clips_and_bad_rows(manifest) -> None:
    file = manifest("p.jsonl", MIXED)
    report = file.report()
    assert (report.num_rows, report.num_clips, report.num_bad_rows) == (3, 1, 2)
    assert report.digest == hashlib.sha256(MIXED.encode()).hexdigest()
    assert report.path == str(file.path)


def test_an_error_is_data_and_a_sentence(manifest) -> None:
    file = manifest("p.jsonl", MIXED)
    path = str(file.path)
    expected = "4n+1, because the VAE compresses time by 4"
    error = file.report().errors[2]
    assert error == RowError(path, 3, "line 3", "num_frames", "80", expected)
    assert str(error) == f"{path}: line 3: num_frames: got 80, expected {expected}"


def test_a_good_report_raises_nothing(manifest) -> None:
    manifest("p.txt", "a\n").report().raise_if_bad()


def test_a_bad_report_lists_what_it_kept_and_counts_the_rest(manifest) -> None:
    report = manifest("p.jsonl", '{"prompt": ""}\n' * 60).report(max_errors=7)
    assert (report.num_bad_rows, len(report.errors)) == (60, 7)
    with pytest.raises(ManifestError) as caught:
        report.raise_if_bad()
    lines = str(caught.value).splitlines()
    assert len(lines) == 8
    assert lines[-1] == "… and 53 more bad rows"
    assert caught.value.num_bad_rows == 60
    assert caught.value.errors == report.errors
    assert isinstance(caught.value, InvalidRequestError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.errors) == (str(caught.value), report.errors)


def test_fifty_mistakes_are_kept_and_no_more(manifest) -> None:
    report = manifest("p.jsonl", '{"prompt": 1, "seed": "x", "fps": 0}\n' * 100).report()
    assert (report.num_bad_rows, len(report.errors)) == (100, 50)


def test_the_second_pass_stops_at_a_bad_row(manifest) -> None:
    file = manifest("p.jsonl", MIXED)
    requests = iter_requests(file.path, SamplingDefaults(**DEFAULT_VALUES))
    assert next(requests).id
    with pytest.raises(ManifestError, match="line 2: prompt: got 3") as caught:
        next(requests)
    assert [error.field for error in caught.value.errors] == ["prompt", "seed"]


def test_or_it_goes_on_and_names_the_failures_in_order(manifest) -> None:
    first, second, third = manifest("p.jsonl", MIXED).items()
    assert first.prompt == "a"
    assert second == InvalidRow(
        "row-2=bad",
        2,
        "prompt: got 3, expected a string of at most 4096 characters. Fix: write it in quotes; "
        "seed: got -1, expected an integer from 0 to 9223372036854775807",
    )
    assert (third.id, third.row) == ("x", 3)


def test_a_manifest_that_changed_between_the_passes_is_refused(manifest) -> None:
    file = manifest("p.txt", "a\n")
    digest = file.report().digest
    assert len(file.items(digest=digest)) == 1
    file.path.write_text("a\nb\n")
    with pytest.raises(ManifestError, match="another content than when it was checked"):
        file.items(digest=digest)


def test_limit_reads_no_further(manifest) -> None:
    file = manifest("p.jsonl", '{"prompt": "a"}\n{"prompt": "b"}\n{"prompt": 3}\n', limit=2)
    assert (file.report().num_rows, file.report().num_bad_rows) == (2, 0)
    assert [clip.prompt for clip in file.requests()] == ["a", "b"]


def test_limit_counts_rows_and_not_samples(manifest) -> None:
    assert len(manifest("p.txt", "a\nb\nc\n", limit=2, num_samples=3).requests()) == 6


@pytest.mark.parametrize("name", ["num_samples", "limit"])
def test_options_are_checked(name: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"{name}: got 0, expected an integer of at"):
        ManifestOptions(**{name: 0})


def test_the_row_wins_over_the_defaults(manifest) -> None:
    [clip] = manifest("p.jsonl", '{"prompt": "a", "fps": 24}').requests()
    assert (clip.fps, clip.num_frames) == (24.0, 17)


def test_what_neither_row_nor_defaults_say_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("a\n")
    report = validate_manifest(path, SamplingDefaults(**{**DEFAULT_VALUES, "sampler": None}))
    assert [str(error).removeprefix(f"{path}: ") for error in report.errors] == [
        "line 1: sampler: missing, expected one of ddpm, ddim, lcm, euler, heun, dpmpp_2m, unipc. "
        "Fix: say it in the row, or set sampling.sampler."
    ]


def test_a_default_the_model_cannot_make_says_where_to_set_it(manifest) -> None:
    file = manifest("p.txt", "a\n")

    def refuse(request: ClipRequest) -> None:
        raise InvalidRequestError(f"height: got {request.height}, expected a multiple of 48")

    defaults = SamplingDefaults(**DEFAULT_VALUES)
    with pytest.raises(ManifestError, match=r"Fix: say it in the row, or set sampling\.height\."):
        validate_manifest(file.path, defaults, refuse).raise_if_bad()


def test_memory_does_not_grow_with_the_size_of_rows(tmp_path: Path) -> None:
    """10,000 rows of 2 KB: 20 MB of manifest, and only the ids are remembered."""
    path = tmp_path / "p.txt"
    path.write_text("".join(f"{index} {'x' * 2000}\n" for index in range(10_000)))
    defaults = SamplingDefaults(**DEFAULT_VALUES)
    validate_manifest(path, defaults)  # imports
    tracemalloc.start()
    try:
        validate_manifest(path, defaults)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 * 2**20


@pytest.mark.benchmark
def test_a_million_rows_in_a_minute_and_a_half(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    with path.open("w") as file:
        for index in range(1_000_000):
            file.write(f'{{"id": "clip-{index}", "prompt": "a red circle number {index}"}}\n')
    started_s = time.process_time()
    report = validate_manifest(path, SamplingDefaults(**DEFAULT_VALUES))
    elapsed_s = time.process_time() - started_s
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert report.num_rows == report.num_clips == 1_000_000
    assert elapsed_s < 90, elapsed_s
    assert peak_mib < 500, peak_mib
