"""`data pack` with an engine in this process: what becomes of videos, good, bad, cut and copied."""

from __future__ import annotations

import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tests.unit.videogen_pipelines.data.conftest import InProcess, save_scene, scene
from videogen.errors import ConfigError
from videogen.media import read_video, write_video
from videogen_cluster.failures import ErrorClass, Failure
from videogen_cluster.scheduler import DeadLettered
from videogen_pipelines.data.pack import pack
from videogen_pipelines.data.pack_job import PackJob
from videogen_pipelines.data.report import DROPPED_KEY, PackReport
from videogen_pipelines.data.settings import PackSettings
from videogen_pipelines.data.shards import read_shard


def run(
    folder: Path, out: Path, engine: Any = None, index: Path | None = None, **settings: Any
) -> PackReport:
    job = PackJob.check(
        str(folder), str(out), PackSettings(**settings), None if index is None else str(index)
    )
    return pack(job, Console(file=io.StringIO()), engine=engine or InProcess())


def samples(out: Path) -> dict[str, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted(out.rglob("*.tar")):
        for key, sample in read_shard(path):
            assert key not in found, "a clip is in two shards"
            found[key] = sample
    return found


def by_caption(out: Path) -> dict[str, dict[str, bytes]]:
    return {sample["txt"].decode(): sample for sample in samples(out).values()}


def dropped(out: Path) -> dict[str, str]:
    lines = gzip.decompress((out / DROPPED_KEY).read_bytes()).decode().splitlines()
    return {entry["file"]: entry["reason"] for entry in map(json.loads, lines)}


def test_good_videos_are_kept_byte_for_byte(videos: Path, tmp_path: Path):
    report = run(videos, tmp_path / "out")
    assert (report.state, report.videos, report.clips, report.shards) == ("complete", 4, 4, 1)
    assert report.buckets == {"48x48x9": 4}
    found = by_caption(tmp_path / "out")
    assert set(found) == {f"square number {index}" for index in range(4)}
    sample = found["square number 2"]
    assert sample["mp4"] == (videos / "v2.mp4").read_bytes()
    said = json.loads(sample["json"])
    assert (said["num_frames"], said["fps"], said["height"]) == (12, 12.0, 48)
    assert said["caption"] == "square number 2"
    assert said["source"] == {"key": "v2.mp4", "start": 0, "stop": 12}
    assert said["metrics"]["motion.total"] > 0.5
    assert not (tmp_path / "out/parts").exists() or not any((tmp_path / "out/parts").rglob("*.mp4"))


def test_a_video_is_cut_where_its_scene_changes(videos: Path, tmp_path: Path):
    save_scene(videos / "long.mp4", 20, 21, 22)
    (videos / "long.txt").write_text("three")
    out = tmp_path / "out"
    report = run(videos, out)
    assert report.clips == 4 + 3
    cut = [s for s in samples(out).values() if s["txt"] == b"three"]
    spans = [json.loads(sample["json"])["source"] for sample in cut]
    assert [(span["start"], span["stop"]) for span in spans] == [(0, 12), (12, 24), (24, 36)]
    for index, sample in enumerate(cut):
        path = tmp_path / "cut.mp4"
        path.write_bytes(sample["mp4"])
        frames, fps = read_video(path)
        assert (len(frames), fps) == (12, 12.0)
        assert np.abs(frames.astype(int) - scene(20 + index).astype(int)).mean() < 8
    whole = run(videos, tmp_path / "whole", cuts="keep")
    assert whole.clips == 5


def test_links_that_lead_nowhere_are_dropped_until_they_lead_somewhere(
    videos: Path, tmp_path: Path
):
    (videos / "gone.mp4").symlink_to(tmp_path / "elsewhere.mp4")
    (videos / "itself.mp4").symlink_to("itself.mp4")
    (videos / "round").symlink_to(videos)
    (videos / "there.mp4").symlink_to("v0.mp4")
    for name in ("gone", "itself", "there"):
        (videos / f"{name}.txt").write_text(name)
    report = run(videos, tmp_path / "out")
    assert (report.state, report.videos, report.clips) == ("complete", 7, 4)
    said = dropped(tmp_path / "out")
    assert said.pop("there.mp4" if "there.mp4" in said else "v0.mp4").startswith("copy: of")
    assert "got no file" in said["gone.mp4"] and said["gone.mp4"].startswith("missing: ")
    assert "got a link that leads back to itself" in said["itself.mp4"]
    assert len(said) == 2
    save_scene(tmp_path / "elsewhere.mp4", 40)
    assert run(videos, tmp_path / "out").clips == 5


def test_what_is_not_good_is_dropped_by_name(videos: Path, tmp_path: Path):
    still = np.repeat(scene(30)[:1], 12, 0)
    write_video(videos / "still.mp4", still, 12)
    save_scene(videos / "small.mp4", 31, side=24)
    save_scene(videos / "short.mp4", 32, num_frames=4)
    save_scene(videos / "uncaptioned.mp4", 33)
    broken = bytearray((videos / "v0.mp4").read_bytes())
    (videos / "cut-short.mp4").write_bytes(broken[: len(broken) // 2])
    broken[len(broken) // 3] ^= 255
    (videos / "altered.mp4").write_bytes(broken)
    (videos / "no-video.mp4").write_text("a text")
    for name in ("still", "small", "short", "cut-short", "altered", "no-video"):
        (videos / f"{name}.txt").write_text(name)
    out = tmp_path / "out"
    report = run(videos, out)
    assert (report.state, report.videos, report.clips) == ("complete", 11, 4)
    said = dropped(out)
    assert said["still.mp4"].startswith("motion.explained: got 0.0")
    assert said["small.mp4"] == "size: 24x24 px, expected 32 or more"
    assert said["short.mp4"] == "length: 4 frames, expected 5 or more"
    assert said["uncaptioned.mp4"].startswith("caption: none")
    for name in ("cut-short", "altered", "no-video"):
        assert said[f"{name}.mp4"].startswith("unreadable: "), said[f"{name}.mp4"]
        assert f"{name}.mp4" in said[f"{name}.mp4"]
    assert set(said) == {
        f"{name}.mp4"
        for name in ("still", "small", "short", "uncaptioned", "cut-short", "altered", "no-video")
    }
    assert report.dropped["unreadable"] == 3


def test_copies_are_found_by_bytes_and_by_looks(videos: Path, tmp_path: Path):
    (videos / "x-same.mp4").write_bytes((videos / "v1.mp4").read_bytes())
    save_scene(videos / "y-again.mp4", 2, crf=32)
    for name in ("x-same", "y-again"):
        (videos / f"{name}.txt").write_text(name)
    report = run(videos, tmp_path / "out")
    said = dropped(tmp_path / "out")
    assert report.clips == 4
    assert "(the same file)" in said["x-same.mp4"]
    assert "v1-" in said["x-same.mp4"]
    assert "bits differ" in said["y-again.mp4"]
    assert "v2-" in said["y-again.mp4"]
    assert run(videos, tmp_path / "exact", near=0).clips == 5


def test_captions_come_from_an_index(videos: Path, tmp_path: Path):
    index = tmp_path / "captions.csv"
    index.write_text("file,caption,author\nv0.mp4,from the index,somebody\n")
    out = tmp_path / "out"
    run(videos, out, index=index)
    found = by_caption(out)
    assert json.loads(found["from the index"]["json"])["metadata"] == {"author": "somebody"}
    assert "square number 1" in found  # which the index does not name


def test_captions_that_come_later_count(videos: Path, tmp_path: Path):
    index, out = tmp_path / "captions.csv", tmp_path / "out"
    index.write_text("file,caption\nv1.mp4,from the index\nv9.mp4,of nothing\n")
    for name in ("v0", "v1", "v3"):
        (videos / f"{name}.txt").unlink()
    (videos / "v2.txt").write_bytes(b"\xff")
    assert run(videos, out, accept={}).clips == 0
    assert dropped(out)["v2.mp4"].startswith("caption: v2.txt: got bytes that are no UTF-8")
    for name in ("v0", "v2"):
        (videos / f"{name}.txt").write_text(name)
    again = run(videos, out, index=index, accept={})
    assert (again.clips, again.unused_rows) == (3, 1)
    assert set(by_caption(out)) == {"v0", "from the index", "v2"}
    assert set(dropped(out)) == {"v3.mp4"}


def test_a_stopped_pack_goes_on_and_makes_the_same(videos: Path, tmp_path: Path):
    save_scene(videos / "long.mp4", 20, 21)
    (videos / "long.txt").write_text("two")
    first = InProcess(stop_after=2)
    assert run(videos, tmp_path / "out", first).state == "interrupted"
    second = InProcess(order=1)
    assert run(videos, tmp_path / "out", second).state == "complete"
    assert len(second.done) == 5 - 2 + 1
    assert not set(first.done) & set(second.done)
    run(videos, tmp_path / "whole", InProcess(order=2))
    shards = {
        path.relative_to(tmp_path / "whole"): path.read_bytes()
        for path in (tmp_path / "whole").rglob("*.tar")
    }
    assert shards
    for path, data in shards.items():
        assert (tmp_path / "out" / path).read_bytes() == data
    third = InProcess()
    assert run(videos, tmp_path / "out", third).clips == 6
    assert third.done == []


def test_videos_that_come_later_go_into_further_shards(videos: Path, tmp_path: Path):
    out = tmp_path / "out"
    run(videos, out)
    before = {path: path.read_bytes() for path in out.rglob("*.tar")}
    save_scene(videos / "a-new.mp4", 40)
    save_scene(videos / "a-copy.mp4", 3, crf=30)
    for name in ("a-new", "a-copy"):
        (videos / f"{name}.txt").write_text(name)
    report = run(videos, out)
    assert (report.clips, report.shards) == (5, 2)
    assert {path: path.read_bytes() for path in before} == before
    assert "a-new" in by_caption(out)
    assert "copy: of v3-" in dropped(out)["a-copy.mp4"]


def test_a_video_that_was_filmed_upright_is_packed_upright(tmp_path: Path):
    import av

    frames = scene(5, num_frames=6)[:, :32]
    (tmp_path / "videos").mkdir()
    path = tmp_path / "videos" / "telephone.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "4"})
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    one, data = 1 << 16, bytearray(path.read_bytes())
    turned = np.array([0, one, 0, -one, 0, 0, 0, 0, 1 << 30], ">i4")  # a quarter, clockwise
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = turned.tobytes()
    path.write_bytes(data)
    report = run(tmp_path / "videos", tmp_path / "out", accept={}, captions="optional")
    assert report.buckets == {"32x48x5": 1}
    ((_, sample),) = samples(tmp_path / "out").items()
    path.write_bytes(sample["mp4"])
    packed, _ = read_video(path)
    expected = np.rot90(frames, -1, (1, 2))
    assert np.abs(packed.astype(int) - expected.astype(int)).mean() < 8


def save_halves(path: Path, seed: int, crf: int = 14) -> None:
    """A video that `HALVES` cuts into two clips."""
    save_scene(path, seed, num_frames=10, crf=crf)


HALVES: dict[str, Any] = {
    "accept": {}, "captions": "optional", "max_frames": 5, "cuts": "keep"
}  # fmt: skip


@pytest.mark.parametrize("recorded", [True, False])  # False: killed after the record was removed
def test_a_shard_that_is_gone_is_written_again(tmp_path: Path, recorded: bool):
    videos, out = tmp_path / "videos", tmp_path / "out"
    save_halves(videos / "long.mp4", 20)
    run(videos, out, **HALVES)
    (gone,) = out.rglob("*.tar")
    before = gone.read_bytes()
    gone.unlink()
    if not recorded:
        next((out / "index").rglob("*.json")).unlink()
    assert run(videos, out, InProcess(stop_after=0), **HALVES).state == "interrupted"
    report = run(videos, out, **HALVES)
    assert (report.state, report.clips) == ("complete", 2)
    assert gone.read_bytes() == before


def test_a_video_that_is_cut_again_keeps_its_caption(tmp_path: Path):
    videos, out, index = tmp_path / "videos", tmp_path / "out", tmp_path / "captions.csv"
    save_halves(videos / "long.mp4", 20)
    index.write_text("file,caption,author\nlong.mp4,from the index,somebody\n")
    said = HALVES | {"captions": "required"}
    run(videos, out, index=index, **said)
    (gone,) = out.rglob("*.tar")
    before = gone.read_bytes()
    gone.unlink()
    assert run(videos, out, **said).state == "complete"
    assert gone.read_bytes() == before


@pytest.mark.parametrize("looked_at", [True, False])  # False: its record is gone as well
def test_a_shard_whose_video_is_gone_fails_alone(tmp_path: Path, looked_at: bool):
    videos, out = tmp_path / "videos", tmp_path / "out"
    save_halves(videos / "long.mp4", 20)
    run(videos, out, **HALVES)
    (gone,) = out.rglob("*.tar")
    before = gone.read_bytes()
    gone.unlink()
    (videos / "long.mp4").rename(tmp_path / "long.mp4")
    if not looked_at:
        next((out / "sources").rglob("*.json")).unlink()
    save_halves(videos / "other.mp4", 30)
    report = run(videos, out, **HALVES)
    assert report.state == "some_failed"
    ((name, why),) = report.failures.items()
    assert name == "48x48x5/clips-000-000000"
    assert "got no file" in why and "long" in why and "Fix: put the video back" in why
    assert {key[:5] for key in samples(out)} == {"other"}
    (tmp_path / "long.mp4").rename(videos / "long.mp4")
    assert run(videos, out, **HALVES).state == "complete"
    assert gone.read_bytes() == before


def test_a_video_that_is_put_back_later_is_cut_again(tmp_path: Path):
    videos, out = tmp_path / "videos", tmp_path / "out"
    save_halves(videos / "long.mp4", 20)
    run(videos, out, **HALVES)
    (gone,) = out.rglob("*.tar")
    before = gone.read_bytes()
    os.utime(videos / "long.mp4", (1, 1))
    assert run(videos, out, **HALVES).clips == 2
    gone.unlink()
    assert run(videos, out, **HALVES).state == "complete"
    assert gone.read_bytes() == before


def test_a_video_that_cannot_be_cut_again_is_named(tmp_path: Path):
    class Crashing(InProcess):
        def __call__(self, workload: Any, config: Any, items: Any, listener: Any, *rest: Any):
            if type(workload).__name__ == "ShardWorkload":
                return super().__call__(workload, config, items, listener, *rest)
            failure = Failure(ErrorClass.RANK_DEATH, "no")
            listener.dead_lettered(DeadLettered("long", 3, failure))
            return False

    videos, out = tmp_path / "videos", tmp_path / "out"
    save_halves(videos / "long.mp4", 20)
    run(videos, out, **HALVES)
    next(out.rglob("*.tar")).unlink()
    report = run(videos, out, Crashing(), **HALVES)
    (why,) = report.failures.values()
    assert why.startswith("output_conflict: long.mp4: got no clip long-")
    assert "(failed: rank_death: no)" in why and "delete its record in sources/" in why
    next((out / "sources").rglob("*.json")).unlink()
    assert run(videos, out, **HALVES).state == "complete"


def test_a_copy_that_is_none_any_more_is_cut_again(tmp_path: Path):
    videos, out = tmp_path / "videos", tmp_path / "out"
    save_halves(videos / "a.mp4", 20)
    save_halves(videos / "b.mp4", 20, crf=32)
    assert run(videos, out, **HALVES).clips == 2
    engine = InProcess()
    report = run(videos, out, engine, near=0, **HALVES)
    assert (report.state, report.clips) == ("complete", 4)
    assert engine.done == ["b", "48x48x5/clips-001-000000"]
    assert sorted(key[0] for key in samples(out)) == ["a", "a", "b", "b"]
    assert not list(out.rglob("parts/*/*.mp4"))


def test_a_copy_whose_name_becomes_the_same_is_dropped_by_name(tmp_path: Path):
    videos, out = tmp_path / "videos", tmp_path / "out"
    save_scene(videos / "a-b.mp4", 1)
    run(videos, out, accept={}, captions="optional")
    save_scene(videos / "a" / "b.mp4", 1)
    run(videos, out, accept={}, captions="optional")
    assert dropped(out)["a/b.mp4"].startswith("copy: of a-b-")


def test_shards_hold_so_many_clips(videos: Path, tmp_path: Path):
    report = run(videos, tmp_path / "out", shard_clips=3)
    assert (report.clips, report.shards) == (4, 2)
    assert len(samples(tmp_path / "out")) == 4


def test_a_video_that_changed_since_is_named(videos: Path, tmp_path: Path):
    class Meddling(InProcess):
        def __call__(self, workload: Any, *rest: Any) -> bool:
            if type(workload).__name__ == "ShardWorkload":
                save_scene(videos / "v3.mp4", 50)
            return super().__call__(workload, *rest)

    report = run(videos, tmp_path / "out", Meddling())
    assert report.state == "some_failed"
    ((name, why),) = report.failures.items()
    assert name == "48x48x9/clips-000-000000"
    assert "v3.mp4: got a file that has changed" in why


def test_a_video_that_nobody_gets_through_is_dropped_and_one_out_of_reach_is_not(
    videos: Path, tmp_path: Path
):
    class Failing(InProcess):
        reason = ErrorClass.RANK_DEATH

        def __call__(self, workload: Any, config: Any, items: Any, *rest: Any) -> bool:
            listener, _ = rest
            waiting = list(items)
            good = [item for item in waiting if item[0] != "v1"]
            if len(good) < len(waiting):
                failure = Failure(self.reason, "no")
                listener.dead_lettered(DeadLettered("v1", 3, failure))
            return super().__call__(workload, config, good, listener, len(good))

    engine = Failing()
    engine.reason = ErrorClass.STORAGE
    away = run(videos, tmp_path / "out", engine)
    assert (away.state, away.failures) == ("some_failed", {"v1": "storage: no"})
    assert not list((tmp_path / "out").rglob("*.tar"))
    given_up = run(videos, tmp_path / "out", Failing())
    assert (given_up.state, given_up.clips) == ("complete", 3)
    assert dropped(tmp_path / "out") == {"v1.mp4": "failed: rank_death: no"}


def test_other_options_need_another_output(videos: Path, tmp_path: Path):
    run(videos, tmp_path / "out")
    with pytest.raises(ConfigError, match="min_frames 3, expected 5 as before"):
        run(videos, tmp_path / "out", min_frames=3)


@pytest.mark.parametrize("inside", ["", "shards", "../videos/a/b"])
def test_an_output_among_the_videos_is_refused(videos: Path, inside: str):
    with pytest.raises(ConfigError, match=r"--out: got .*, which lies in .*videos"):
        PackJob.check(str(videos), str(videos / inside))
    PackJob.check(str(videos), f"{videos}-packed")
