"""Clips of several chunks on a rank: exact lengths, and the same frames wherever they were cut."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.s3.server import S3Server
from videogen.errors import InvalidRequestError, MediaError, StorageError
from videogen.generator import VideoGenerator
from videogen.media import read_video, write_video
from videogen.storage import MissingKeyError, local_copy, open_storage
from videogen_cluster.failures import POLICIES, classify
from videogen_cluster.workload import RankContext
from videogen_pipelines.clip_workload import GenerateWorkload
from videogen_pipelines.config import load_run_config
from videogen_pipelines.inputs import ManifestInputs
from videogen_pipelines.job import Job, LoadedModel
from videogen_pipelines.keys import meta_key
from videogen_pipelines.plan import PlannedClip
from videogen_pipelines.single_committer import commit_attempt

Beats = list[tuple[str, int, int]]


class Rank:
    """One rank of its own process, as far as a test can have that."""

    def __init__(
        self, model: Path, manifest: Path, out: str, row: dict[str, Any], **settings: Any
    ) -> None:
        config = load_run_config(None, [f"model.name={model}"])
        loaded = LoadedModel.read(config.model.name)
        manifest.write_text(json.dumps({"id": "a", "prompt": "a red circle", **row}))
        inputs = ManifestInputs(str(manifest), loaded.defaults(config), loaded.check)
        job = Job.check(config, loaded, inputs, out)
        self.storage = job.storage
        chosen = job.settings()
        self.workload = GenerateWorkload(type(chosen)(**{**vars(chosen), **settings}))
        self.workload.setup(RankContext(0, 0, 1, "cpu", 1))
        (clip,) = job.rows({})
        assert isinstance(clip, PlannedClip)
        self.id = clip.request.id
        self.payload = {**clip.payload(), "id": self.id}
        self.beats: Beats = []
        self.die_at: tuple[str, int] | None = None

    def beat(self, stage: str, step: int, total: int) -> None:
        self.beats.append((stage, step, total))
        if self.die_at is not None and stage == self.die_at[0] and step >= self.die_at[1]:
            raise KeyboardInterrupt("killed")

    def make(self, attempt: int = 1, degrade: int = 0) -> dict[str, Any]:
        item = {**self.payload, "attempt": attempt, "degrade": degrade}
        return self.workload.compute(item, self.beat)()

    def die(self, stage: str, step: int) -> None:
        self.die_at = stage, step
        with pytest.raises(KeyboardInterrupt):
            self.make()
        self.die_at = None

    def partials(self) -> list[str]:
        return sorted(self.storage.list("partial/"))

    def sidecar(self) -> dict[str, Any]:
        return json.loads(self.storage.read(meta_key(self.id)))

    def frames(self) -> np.ndarray:
        with local_copy(self.storage, self.sidecar()["key"]) as path:
            return read_video(path)[0]


MakeRank = Callable[..., Rank]
NO_MORE: Mapping[str, Any] = {}


@pytest.fixture
def rank(tiny_model: Path, tmp_path: Path) -> MakeRank:
    def make(
        out: str = "out", num_frames: int = 21, row: Mapping[str, Any] = NO_MORE, **settings: Any
    ) -> Rank:
        uri, manifest = out if "://" in out else str(tmp_path / out), tmp_path / "rows.jsonl"
        row = {"num_frames": num_frames, **row}
        return Rank(tiny_model, manifest, uri, row, **settings)

    return make


@pytest.mark.parametrize("num_frames", [1, 2, 5, 6, 7, 22])
def test_a_clip_has_exactly_as_many_frames_as_it_was_asked_for(rank: MakeRank, num_frames: int):
    one = rank(num_frames=num_frames)
    record = one.make()
    assert len(one.frames()) == one.sidecar()["frames"] == num_frames
    assert ("chunks" in record) == (num_frames > 5)
    assert one.partials() == []
    assert list(one.workload._scratch.iterdir()) == []


def test_a_clip_that_was_interrupted_has_the_same_frames(rank: MakeRank):
    whole = rank("whole")
    whole.make()
    assert whole.sidecar()["chunks"] == {"method": "overlap", "count": 5, "resumed": 0}

    first = rank()
    first.die("decode", 15)
    segments = [key for key in first.partials() if key.endswith("mp4")]
    assert [key.split(".")[-2] for key in segments] == ["000000", "000001", "000002"]
    assert len(first.partials()) == 4

    second = rank()
    second.make(attempt=2)
    assert second.sidecar()["chunks"] == {"method": "overlap", "count": 5, "resumed": 3}
    assert min(step for stage, step, _ in second.beats if stage == "denoise") >= 13
    np.testing.assert_array_equal(second.frames(), whole.frames())
    assert second.partials() == []


def test_what_is_only_left_to_join_is_joined(rank: MakeRank):
    whole, first = rank("whole"), rank()
    whole.make()
    first.die("join", 0)
    second = rank()
    second.make()
    assert second.sidecar()["chunks"]["resumed"] == 5
    assert not [stage for stage, *_ in second.beats if stage == "denoise"]
    np.testing.assert_array_equal(second.frames(), whole.frames())


def test_an_attempt_in_smaller_tiles_goes_on_with_the_same_frames(rank: MakeRank):
    whole, one = rank("whole"), rank()
    whole.make()
    one.die("decode", 11)
    one.make(attempt=2, degrade=1)
    assert one.sidecar()["chunks"]["resumed"] == 2
    np.testing.assert_array_equal(one.frames(), whole.frames())


@pytest.mark.parametrize("kind", ["mp4", "safetensors"])
def test_damaged_chunks_are_made_anew(rank: MakeRank, kind: str):
    whole, one = rank("whole"), rank()
    whole.make()
    one.die("decode", 15)
    key = next(key for key in one.partials() if key.endswith(kind))
    data = one.storage.read(key)
    one.storage.put(key, data[: len(data) // 2])
    if kind == "mp4":
        with pytest.raises(MediaError, match="cut short"):  # noticed when all are joined
            one.make(attempt=2)
        assert one.partials() == []
    one.make(attempt=3)
    assert one.sidecar()["chunks"]["resumed"] == 0
    np.testing.assert_array_equal(one.frames(), whole.frames())


def test_chunks_of_another_quality_are_not_mixed(rank: MakeRank):
    first = rank()
    first.die("decode", 15)
    other = rank(crf=40)
    other.make()
    assert other.sidecar()["chunks"]["resumed"] == 0
    assert other.partials() == []


def test_the_coordinator_alone_may_commit(rank: MakeRank):
    whole, one = rank("whole"), rank(single_committer=True)
    whole.make()
    one.die("decode", 15)
    record = one.make(attempt=2)
    assert record["sidecar"]["chunks"]["resumed"] == 3
    assert list(one.storage.list("meta/")) == []
    assert one.partials() == []
    commit_attempt(one.storage, record)
    np.testing.assert_array_equal(one.frames(), whole.frames())


class Helping:
    """A gang in which this rank does what the first one says."""

    leads = False

    def __init__(self, num_chunks: int) -> None:
        self.num_chunks = num_chunks

    def begin(self, item: Any, is_done: bool) -> bool:
        return is_done

    def adapt(self, generator: Any, degrade: int) -> None:
        pass

    def agree_on(self, number: int) -> int:
        assert number == 0, "only the first rank looks for chunks"
        return self.num_chunks

    def agree(self, said: bool) -> bool:
        return said

    def traffic(self) -> None:
        return None


def test_ranks_that_help_go_on_where_the_first_one_does_and_store_nothing(rank: MakeRank):
    first = rank()
    first.die("decode", 15)
    before = first.partials()
    second: Any = rank()
    second.workload._gang = Helping(3)
    assert second.make() == {}
    assert min(step for stage, step, _ in second.beats if stage == "denoise") >= 13
    assert first.partials() == before
    assert list(second.storage.list("meta/")) == []
    third: Any = rank()
    third.workload._gang = Helping(2)  # of which the state is gone: it does not start anew alone
    with pytest.raises(MissingKeyError):
        third.make()


def test_progress_counts_frames_and_never_falls_silent(rank: MakeRank):
    one = rank()
    one.make()
    told = [beat for beat in one.beats if beat[0] in ("denoise", "decode", "encode", "store")]
    assert {total for _, _, total in told} == {21}
    for stage, last in (("denoise", 21), ("decode", 21), ("encode", 21), ("store", 21)):
        steps = [step for name, step, _ in told if name == stage]
        assert steps == sorted(steps), stage
        assert steps[-1] == last
    assert [step for name, step, _ in told if name == "store"] == [5, 9, 13, 17, 21]


def test_a_short_clip_counts_its_steps_and_frames(rank: MakeRank):
    one = rank(num_frames=5)
    one.make()
    told = {stage: (step, total) for stage, step, total in one.beats}
    assert (told["denoise"], told["decode"], told["encode"]) == ((2, 2), (5, 5), (5, 5))


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the generator is given to start from."""
    given: list[Any] = []
    stream = VideoGenerator.stream

    def watched(self: VideoGenerator, request: Any, state: Any, on_step: Any, start: Any) -> Any:
        given.append(start)
        return stream(self, request, state, on_step, start)

    monkeypatch.setattr(VideoGenerator, "stream", watched)
    return given


def test_a_clip_starts_with_its_picture(rank: MakeRank, tmp_path: Path, starts: list[Any]):
    picture = tmp_path / "cat.png"
    pixels = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    Image.fromarray(pixels).save(picture)
    whole = rank("whole", row={"image": "cat.png"})
    whole.make()
    np.testing.assert_array_equal(starts[0], pixels[None, :, 16:48])
    first = rank(row={"image": "cat.png"})
    first.die("decode", 15)
    first.make(attempt=2)
    assert starts[2] is None  # the state holds what it needs
    np.testing.assert_array_equal(first.frames(), whole.frames())
    assert not np.array_equal(first.frames()[:5], rank_frames(rank("plain")))


def rank_frames(one: Rank) -> np.ndarray:
    one.make()
    return one.frames()[:5]


def test_a_clip_goes_on_from_the_end_of_a_video(rank: MakeRank, tmp_path: Path, starts: list[Any]):
    frames = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)
    write_video(tmp_path / "a.mp4", frames, 8)
    row = {"video": "a.mp4", "chunk_frames": 17, "context_frames": 8, "fps": 8}
    one = rank(row=row)
    one.make()
    np.testing.assert_array_equal(starts[0], read_video(tmp_path / "a.mp4")[0][-5:])
    assert one.sidecar()["frames"] == 21


def test_a_picture_that_changed_since_the_plan_is_refused(rank: MakeRank, tmp_path: Path):
    picture = tmp_path / "cat.png"
    Image.new("RGB", (32, 32), "red").save(picture)
    one = rank(row={"image": "cat.png"})
    Image.new("RGB", (32, 32), "blue").save(picture)
    with pytest.raises(InvalidRequestError, match=r"got other content in .*cat\.png"):
        one.make()


def test_a_picture_that_its_node_does_not_see_may_be_there_on_another_one(
    rank: MakeRank, tmp_path: Path
):
    picture = tmp_path / "cat.png"
    Image.new("RGB", (32, 32), "red").save(picture)
    one = rank(row={"image": "cat.png"})
    picture.unlink()
    with pytest.raises(StorageError, match="which is not there for this node") as caught:
        one.make()
    assert POLICIES[classify(caught.value)].max_attempts is None


def test_chunks_and_pictures_may_be_in_an_object_store(
    rank: MakeRank, s3_env: S3Server, tmp_path: Path
):
    bucket = f"s3://{s3_env.bucket}/long-clips"
    Image.new("RGB", (40, 40), "red").save(tmp_path / "cat.png")
    open_storage(bucket).create("cat.png", tmp_path / "cat.png")
    whole = rank("whole", row={"image": "cat.png"})
    whole.make()
    one = rank(f"{bucket}/out", row={"image": f"{bucket}/cat.png"})
    one.die("decode", 15)
    one.make(attempt=2)
    assert one.sidecar()["clip_id"] == whole.sidecar()["clip_id"]
    assert one.sidecar()["chunks"]["resumed"] == 3
    assert one.partials() == []
    np.testing.assert_array_equal(one.frames(), whole.frames())
