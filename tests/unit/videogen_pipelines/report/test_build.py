"""A report as a whole: its files, what stands in them, and that making it again is cheap."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.s3.server import S3Server
from tests.shown_run import (
    HOSTILE,
    LARGE_SEED,
    clip_request,
    demo_requests,
    handed_over,
    make_run,
)
from videogen.errors import ConfigError, StorageError
from videogen.media import write_video
from videogen.storage import LocalStorage, Storage, open_storage
from videogen_pipelines.evaluation.evaluate import SUMMARY_KEY
from videogen_pipelines.evaluation.sources import FolderSource
from videogen_pipelines.report.build import ReportOptions, Side, build_report
from videogen_pipelines.report.diversity import recorded_diversity
from videogen_pipelines.results import RESULTS_PREFIX
from videogen_pipelines.status import Coordinator, Status, write_status

EVERYTHING = ReportOptions()
ENDED_AT = datetime(2026, 1, 2, tzinfo=UTC)


def made(run: LocalStorage, to: Path, options: ReportOptions = EVERYTHING) -> LocalStorage:
    report = LocalStorage(to)
    side = Side.read(str(run.root), None, report, options)
    assert build_report(report, side, options=options) == f"{report.uri}/index.html"
    return report


def data(report: Storage, name: str) -> Any:
    called, found = handed_over(report.read(f"data/{name}.js").decode("ascii"))
    assert called == name
    return found


def cells(table: dict[str, Any], name: str) -> list[Any]:
    column = table["columns"][name]
    words = column.get("words")
    return [v if words is None or v is None else words[v] for v in column["values"]]


def test_rows_keep_the_order_of_the_manifest_and_say_what_became_of_them(run: LocalStorage):
    report = made(run, run.root / "report")
    table = data(report, "a/rows")
    assert table["count"] == 5
    assert cells(table, "id") == ["red-1", "red-5", "green-1", "green-5", "hostile"]
    assert cells(table, "status") == ["done", "done", "failed", "failed", "done"]
    assert cells(table, "error_message") == [None, None, "out of memory", "out of <memory>", None]
    assert cells(table, "prompt")[4] == HOSTILE
    assert set(cells(table, "seed")) == {str(LARGE_SEED)}  # text: a page would round the number
    assert cells(table, "guidance_scale") == [1.0, 5.0, 1.0, 5.0, 3.0]
    luma = cells(table, "metric:flicker.luma")
    assert [value is None for value in luma] == [False, False, True, True, False]
    said = data(report, "a/run")
    assert (said["base"], said["shown"], said["total"]) == ("../", 5, 5)
    assert (said["run"]["done"], said["run"]["failed"]) == (3, 2)
    assert said["run"]["state"] == "some_failed"
    assert {metric["name"] for metric in said["metrics"]} == {"flicker.luma", "frame.contrast"}
    assert len(said["profiles"]["frame.contrast"]["p50"]) == 24
    for key, name in zip(cells(table, "key"), cells(table, "id"), strict=True):
        assert (key is None) == name.startswith("green")
        assert key is None or run.exists(key)


def test_details_hold_the_row_to_repeat_the_curves_and_the_worst_frames(run: LocalStorage):
    found = data(made(run, run.root / "report"), "a/details-00000")
    assert [each["id"] for each in found] == ["red-1", "red-5", "green-1", "green-5", "hostile"]
    row = json.loads(found[1]["row"])
    asked = next(request for request in demo_requests() if request.id == "red-5")
    assert (
        clip_request(
            **{k: v for k, v in row.items() if k not in ("id", "prompt")},
            name=row["id"],
            prompt=row["prompt"],
        )
        == asked
    )
    curve = found[1]["curves"]["frame.contrast"]
    assert (curve["step"], len(curve["values"])) == (1, 17)
    worst = found[1]["worst_frame"]["flicker.luma"]
    luma = [value or 0.0 for value in found[1]["curves"]["flicker.luma"]["values"]]
    assert luma[worst] == max(luma)
    assert json.loads(found[2]["row"])["prompt"] == "a green square moving right"
    assert found[2]["curves"] == {}
    assert found[1]["made"]["codec"] == "h264"


def test_no_script_holds_anything_but_one_call_with_strings(run: LocalStorage):
    report = made(run, run.root / "report")
    names = list(report.list("data/"))
    assert len(names) == 5
    for name in names:
        script = report.read(name).decode("ascii")
        assert script.startswith('videogenData("')
        assert script.endswith('");\n')
        assert "<" not in script


def test_making_it_again_draws_nothing_again_and_leaves_no_old_data(
    run: LocalStorage, monkeypatch: pytest.MonkeyPatch
):
    report = made(run, run.root / "report")
    before = {key: report.read(key) for key in report.list()}
    assert sum(key.endswith(".jpg") for key in before) == 3 * 4
    report.put("data/b/rows.js", b"old")

    def refuse(*arguments: Any, **named: Any) -> None:
        raise AssertionError("it was drawn already")

    monkeypatch.setattr("videogen_pipelines.report.picture_store.draw_pictures", refuse)
    made(run, run.root / "report")
    after = {key: report.read(key) for key in report.list()}
    assert after.keys() == before.keys()
    same = {key for key in after if after[key] == before[key]}
    assert after.keys() - same <= {"data/a/run.js"}  # it says when it was made


def test_a_run_that_goes_on_shows_what_there_is(run: LocalStorage):
    for key in [*run.list(RESULTS_PREFIX), "_SUCCESS", "errors.jsonl"]:
        run.delete(key)
    table = data(made(run, run.root / "report"), "a/rows")
    status = dict(zip(cells(table, "id"), cells(table, "status"), strict=True))
    assert status == {
        "green-1": "failed",
        "green-5": "failed",
        "hostile": "done",
        "red-1": "done",
        "red-5": "done",
    }


def test_scores_of_another_file_of_that_name_do_not_count(run: LocalStorage):
    side = Side.read(str(run.root), None, LocalStorage(run.root / "report"), EVERYTHING)
    clip = side.selection.clips[0]
    assert side.scores.of(clip.id, clip.version) is not None
    assert side.scores.of(clip.id, "0" * 16) is None


def test_a_clip_that_is_lost_or_damaged_has_no_picture_and_stops_nothing(run: LocalStorage):
    side = Side.read(str(run.root), None, LocalStorage(run.root / "report"), EVERYTHING)
    keys = {clip.id: clip.key or "" for clip in side.selection.clips}
    run.delete(keys["red-1"])
    run.put(keys["red-5"], b"no video")
    table = data(made(run, run.root / "report"), "a/rows")
    assert [p is None for p in cells(table, "pictures")] == [True, True, True, True, False]


def test_without_pictures_only_posters_are_drawn(run: LocalStorage):
    report = made(run, run.root / "report", ReportOptions(pictures=False))
    kinds = [key.split(".")[-2] for key in report.list("pictures/")]
    assert kinds == ["poster"] * 3


def test_of_many_clips_evenly_spaced_ones_are_shown(run: LocalStorage):
    report = made(run, run.root / "report", ReportOptions(pictures=False, limit=2))
    assert cells(data(report, "a/rows"), "id") == ["red-1", "green-1"]
    assert (data(report, "a/run")["shown"], data(report, "a/run")["total"]) == (2, 5)


def test_a_report_elsewhere_links_back_or_takes_the_clips_along(run: LocalStorage, tmp_path: Path):
    linked = made(run, tmp_path / "pages" / "one")
    assert data(linked, "a/run")["base"] == "../../demo/"
    copied = made(run, tmp_path / "copied", ReportOptions(copy=True))
    assert data(copied, "a/run")["base"] == ""
    for key in filter(None, cells(data(copied, "a/rows"), "key")):
        assert copied.size(key) > 1000


def test_no_link_leads_from_a_disk_into_a_bucket(tmp_path: Path):
    with pytest.raises(ConfigError, match="add --copy"):
        Side.read("s3://bucket/run", None, LocalStorage(tmp_path), EVERYTHING)


def test_a_bucket_holds_run_and_report(run: LocalStorage, s3_env: S3Server):
    bucket = open_storage(s3_env.uri("report/demo"))
    for key in run.list():
        bucket.put(key, run.root / key)
    report = open_storage(f"{bucket.uri}/report")
    side = Side.read(bucket.uri, None, report, EVERYTHING)
    assert build_report(report, side) == f"{bucket.uri}/report/index.html"
    assert data(report, "a/run")["base"] == "../"
    assert len(list(report.list("pictures/"))) == 12


def test_any_folder_of_videos_can_be_shown(tmp_path: Path, run: LocalStorage):
    frames = (run.root / "clips").rglob("*.mp4")
    videos = LocalStorage(tmp_path / "videos")
    videos.put("sub/My clip #1.mp4", next(frames).read_bytes())
    report = made(videos, tmp_path / "videos" / "report")
    table = data(report, "a/rows")
    assert (cells(table, "num_frames"), cells(table, "fps"), cells(table, "size")) == (
        [17],
        [12.0],
        ["64×64"],
    )
    assert data(report, "a/run")["kind"] == "folder"
    assert data(report, "a/details-00000")[0]["row"] == ""
    with pytest.raises(StorageError):
        made(LocalStorage(tmp_path / "empty"), tmp_path / "nothing")


def test_copies_in_a_report_are_no_videos_of_the_folder_but_those_of_the_report_itself(
    tmp_path: Path, run: LocalStorage
):
    clip = next((run.root / "clips").rglob("*.mp4")).read_bytes()
    videos = LocalStorage(tmp_path / "videos")
    names = ["clips/ab/red=1.mp4", "one.mp4", "sub/clips/two.mp4"]
    for name in names:
        videos.put(name, clip)
    copying = ReportOptions(pictures=False, copy=True)
    made(videos, videos.root / "report", copying)
    report = made(videos, videos.root / "report", copying)
    assert data(report, "a/rows")["count"] == 3
    assert sorted(source.key for source in FolderSource(videos).clips()) == names
    assert len(FolderSource(report).ids) == 3


def test_runs_that_cannot_be_paired_are_shown_side_by_side_and_say_why(
    tmp_path: Path, run: LocalStorage
):
    summary = json.loads(run.read(SUMMARY_KEY))
    other = LocalStorage(shutil.copytree(run.root, tmp_path / "other"))
    other.put(SUMMARY_KEY, json.dumps({**summary, "size": 64}).encode())
    report, options = LocalStorage(tmp_path / "page"), ReportOptions(pictures=False)
    sides = [Side.read(str(each.root), None, report, options) for each in (run, other)]
    assert build_report(report, *sides, options=options) == f"{report.uri}/index.html"
    assert "evaluate.size: got 128 and 64" in data(report, "comparison")["impossible"]


@pytest.mark.parametrize("invocation", [1, 2])
def test_the_time_of_the_last_invocation_is_that_of_a_run_of_one_alone(
    run: LocalStorage, invocation: int
):
    write_status(
        run,
        Status(
            invocation=invocation,
            state="complete",
            started_at=ENDED_AT - timedelta(seconds=3600),
            updated_at=ENDED_AT,
            coordinator=Coordinator(node="n", pid=7),
        ),
    )
    said = data(made(run, run.root / "report", ReportOptions(pictures=False)), "a/run")["run"]
    if invocation == 1:
        assert (said["elapsed_s"], said["clips_per_minute"]) == (3600, 3 / 60)
    else:  # from the first clip to the last, which took the fixture a moment
        assert 0 < said["elapsed_s"] < 60


def test_a_sweep_has_axes_and_tells_how_much_its_clips_differ(tmp_path: Path):
    requests = [
        clip_request(
            f"{colour}-{scale:g}",
            "a square",
            guidance_scale=scale,
            metadata={"sweep": {"row": colour, "guidance_scale": scale, "sampler": "euler"}},
        )
        for scale in (1.0, 5.0)
        for colour in ("red", "blue", "red2")
    ]
    run = make_run(tmp_path / "sweep", requests)
    report = made(run, run.root / "report", ReportOptions(pictures=False))
    said, table = data(report, "a/run"), data(report, "a/rows")
    assert said["axes"] == ["guidance_scale", "sampler"]
    assert cells(table, "axis:guidance_scale") == ["1"] * 3 + ["5"] * 3
    assert cells(table, "sweep_row") == ["red", "blue", "red2"] * 2
    assert [each["point"]["guidance_scale"] for each in said["diversity"]] == ["1", "5"]
    assert all(each["diversity"] > 0 and each["prompts"] == 1 for each in said["diversity"])


def test_a_report_says_the_diversity_that_was_scored():
    sets = {
        "points": [
            {
                "point": {"guidance_scale": 3.0},
                "metrics": {
                    "set.fd.a-1": {"value": 7.0},
                    "set.diversity.a-1": {"value": 0.5, "num_prompts": 2},
                },
            }
        ]
    }
    assert recorded_diversity(sets) == [
        {"point": {"guidance_scale": "3"}, "diversity": 0.5, "prompts": 2}
    ]
    assert recorded_diversity(None) is None
    assert recorded_diversity({"all": {}}) is None


def test_two_runs_are_compared_by_pairs(run: LocalStorage, scored_run: Path, tmp_path: Path):
    report = LocalStorage(tmp_path / "page")
    sides = [Side.read(str(each), None, report, EVERYTHING) for each in (run.root, scored_run)]
    build_report(report, *sides)
    assert data(report, "report")["sides"] == ["a", "b"]
    comparison = data(report, "comparison")
    assert comparison["pairs"] == 3
    assert comparison["metrics"]["flicker.luma"]["difference"] == 0
    assert data(report, "b/rows")["count"] == 5


def test_an_unusual_format_is_shown_too(tmp_path: Path):
    import numpy as np

    path = tmp_path / "videos" / "one.mp4"
    write_video(path, iter([np.zeros((1, 18, 30, 3), np.uint8)]), fps=5)
    report = made(LocalStorage(path.parent), tmp_path / "report")
    assert [key.split(".")[-2] for key in report.list("pictures/")] == ["poster"]
