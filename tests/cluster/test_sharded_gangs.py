"""Gangs of two ranks on a real local Ray: the clips are those of one rank, whatever happens."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from videogen.errors import StorageError
from videogen.extension.plan import plan_clip
from videogen.media import read_video
from videogen_cluster.failures import ErrorClass, Failure
from videogen_cluster.limits import Limits
from videogen_cluster.listener import Listener, Snapshot
from videogen_cluster.scheduler import Completed, DeadLettered, Requeued
from videogen_cluster.session import Cluster
from videogen_cluster.workload import Heartbeat, RankContext
from videogen_pipelines.clip_workload import GenerateWorkload
from videogen_pipelines.config import load_run_config
from videogen_pipelines.inputs import ManifestInputs
from videogen_pipelines.job import Job, LoadedModel
from videogen_pipelines.keys import clip_key
from videogen_pipelines.plan import PlannedClip
from videogen_pipelines.sidecar import Sidecar, find_sidecar

pytestmark = pytest.mark.cluster

NUM_CLIPS = 5
STEPS = 12


class Stumbling(GenerateWorkload):
    """Fails in the first attempt of a clip: on one rank while denoising, or when it is stored."""

    def __init__(self, settings: Any, denoising: Mapping[str, str], storing: str) -> None:
        super().__init__(settings)
        self.denoising, self.storing = denoising, storing

    def compute(self, item: Mapping[str, Any], heartbeat: Heartbeat) -> Callable[[], Any]:
        first, helps = item["attempt"] == 1, self._context.rank == 1

        def stumble(stage: str, step: int, total: int) -> None:
            if first and helps and (stage, step) == ("denoise", 2) and item["id"] in self.denoising:
                raise {"memory": MemoryError, "error": ValueError}[self.denoising[item["id"]]]
            heartbeat(stage, step, total)

        finish = super().compute(item, stumble)

        def unstored() -> dict[str, Any]:
            raise StorageError("the store is away")

        return unstored if first and not helps and item["id"] == self.storing else finish


class Notes(Listener):
    """Remembers what it hears, and can stop the run after a clip."""

    def __init__(self, stop: Callable[[], None] | None = None) -> None:
        self.stop = stop
        self.done: dict[str, Completed] = {}
        self.dead: list[DeadLettered] = []
        self.retries: list[tuple[str, ErrorClass]] = []
        self.losses: list[Failure] = []
        self.most_in_flight = 0

    def completed(self, decision: Completed) -> None:
        self.done[decision.item_id] = decision
        if self.stop is not None:
            self.stop()

    def dead_lettered(self, decision: DeadLettered) -> None:
        self.dead.append(decision)

    def requeued(self, decision: Requeued) -> None:
        self.retries.append((decision.item_id, decision.failure.error_class))

    def gang_lost(self, gang: int, failure: Failure) -> None:
        self.losses.append(failure)

    def progress(self, snapshot: Snapshot) -> None:
        self.most_in_flight = max(self.most_in_flight, len(snapshot.in_flight))


@pytest.fixture(scope="module")
def make_job(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Job]:
    """A job of a few clips of two lengths, encoded with little loss, in a folder of its own."""
    rows = [
        {
            "id": f"clip-{index}",
            "prompt": "a red circle",
            "num_frames": 5 + 4 * (index % 2),
            "num_inference_steps": STEPS,
        }
        for index in range(NUM_CLIPS)
    ]

    def making(*settings: str) -> Job:
        folder = tmp_path_factory.mktemp("sharded")
        manifest = folder / "rows.jsonl"
        manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
        config = load_run_config(None, [f"model.name={tiny_model}", "output.crf=0", *settings])
        model = LoadedModel.read(config.model.name)
        inputs = ManifestInputs(str(manifest), model.defaults(config), model.check)
        return Job.check(config, model, inputs, str(folder / "out"))

    return making


def items_of(job: Job) -> dict[str, dict[str, Any]]:
    return {row.request.id: row.payload() for row in job.rows({}) if isinstance(row, PlannedClip)}


@pytest.fixture(scope="module")
def alone(make_job: Callable[..., Job]) -> Job:
    """The same clips, made by one rank in this process."""
    job = make_job()
    workload = GenerateWorkload(job.settings())
    workload.setup(RankContext(0, 0, 1, "cpu", 1))
    for name, payload in items_of(job).items():
        workload.compute({**payload, "id": name, "attempt": 1, "degrade": 0}, lambda *_: None)()
    return job


def run(
    cluster: Cluster, job: Job, workload: GenerateWorkload, notes: Notes, **options: Any
) -> Any:
    from ray import cloudpickle

    from videogen_cluster.driver import Driver, EngineOptions
    from videogen_cluster.placement import Layout

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    layout = Layout(job.config.cluster.gang.world_size, 1, cpus_per_rank=1.0)
    engine = EngineOptions(Limits(backoff_s=0.1), **{"poll_s": 0.05, **options})
    driver = Driver(workload, layout, cluster, engine, notes)
    if notes.stop is not None:
        notes.stop = driver.stop
    return driver.run(items_of(job).items())


def sidecar(job: Job, name: str) -> Sidecar:
    found = find_sidecar(job.storage, name)
    assert found is not None
    return found


def expect_same_clips(job: Job, alone: Job) -> None:
    for name in items_of(job):
        ours, theirs = (
            read_video(Path(each.storage.uri) / clip_key(name))[0].astype(int)
            for each in (job, alone)
        )
        error = float(np.mean((ours - theirs) ** 2))
        assert error == 0 or 10 * np.log10(255**2 / error) >= 60, name
        assert theirs.std() > 10, "a clip of one colour proves nothing"
        assert sidecar(job, name).clip_id == sidecar(alone, name).clip_id


def test_two_ranks_share_the_tokens_of_each_clip(
    cluster: Cluster, make_job: Callable[..., Job], alone: Job
):
    job, notes = make_job("cluster.gang.seq_degree=2"), Notes()
    report = run(cluster, job, GenerateWorkload(job.settings()), notes)
    assert (report.completed, report.gangs_lost, notes.retries) == (NUM_CLIPS, 0, [])
    assert list(notes.done) == list(items_of(job)), "clips out of order"
    assert notes.most_in_flight == 2
    expect_same_clips(job, alone)
    for name in items_of(job):
        made = sidecar(job, name)
        assert made.parallel is not None
        assert (made.parallel.seq_degree, made.parallel.cfg_degree) == (2, 1)
        assert set(made.parallel.calls) == {"seq", "gang"}
        # 2 ranks, 2 halves of guidance, 2 blocks with 2 switches, and the latents put together.
        num_chunks = plan_clip(job.model.spec, made.request).num_chunks()
        assert made.parallel.calls["seq"] == num_chunks * 2 * STEPS * 2 * (2 * 2 + 1)
        assert made.parallel.bytes["seq"] > 0 < made.parallel.bytes["gang"]
        assert 0 < sum(made.parallel.seconds.values()) <= made.gpu_s
        assert notes.done[name].record["parallel"]["bytes"] == made.parallel.bytes
        timings = made.timings
        assert made.gpu_s == pytest.approx(2 * (timings.denoise_s + timings.decode_s), rel=0.01)
    assert sidecar(alone, "clip-0").parallel is None


@pytest.mark.parametrize(
    "gang", [("seq_degree=2", "weights=sharded"), ("seq_degree=1", "weights=offloaded")]
)
def test_weights_may_be_divided_or_kept_in_the_memory_of_the_cpu(
    cluster: Cluster, make_job: Callable[..., Job], alone: Job, gang: tuple[str, ...]
):
    job, notes = make_job(*(f"cluster.gang.{each}" for each in gang)), Notes()
    report = run(cluster, job, GenerateWorkload(job.settings()), notes)
    assert (report.completed, report.gangs_lost, notes.retries) == (NUM_CLIPS, 0, [])
    expect_same_clips(job, alone)


@pytest.mark.alone
def test_a_rank_that_fails_costs_its_gang_and_no_clip(
    cluster: Cluster, make_job: Callable[..., Job], alone: Job
):
    """Two ranks share the halves of guidance; what fails after computing costs no gang."""
    job, notes = make_job("cluster.gang.cfg_degree=2"), Notes()
    stumbles = {"clip-0": "error", "clip-3": "memory"}
    began = time.monotonic()
    workload = Stumbling(job.settings(), stumbles, storing="clip-4")
    report = run(cluster, job, workload, notes)
    assert (report.completed, report.gangs_lost) == (NUM_CLIPS, 2)
    assert time.monotonic() - began < 60, "somebody waited for a collective"
    charged = [entry for entry in notes.retries if entry[1] is not ErrorClass.CANCELLED]
    assert charged == [
        ("clip-0", ErrorClass.UNEXPECTED),
        ("clip-3", ErrorClass.OUT_OF_MEMORY),
        ("clip-4", ErrorClass.STORAGE),
    ]
    attempts = [decision.attempts for _, decision in sorted(notes.done.items())]
    assert attempts == [2, 1, 1, 2, 2]
    expect_same_clips(job, alone)
    parallel = sidecar(job, "clip-0").parallel
    assert parallel is not None
    assert parallel.calls["cfg"] == 2 * STEPS


def test_stopping_ends_what_ranks_were_given_together(
    cluster: Cluster, make_job: Callable[..., Job]
):
    job = make_job("cluster.gang.seq_degree=2")
    notes = Notes(stop=lambda: None)
    report = run(cluster, job, GenerateWorkload(job.settings()), notes, grace_s=20.0)
    assert report.interrupted
    assert 1 <= report.completed < NUM_CLIPS
    assert (notes.losses, notes.retries, notes.dead) == ([], [], [])
    stored = {name for name in items_of(job) if find_sidecar(job.storage, name)}
    assert stored == set(notes.done)
