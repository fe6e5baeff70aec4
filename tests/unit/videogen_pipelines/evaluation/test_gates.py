"""Gates: what is accepted, which try is kept, and what a run with a gate leaves behind."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from videogen.errors import ConfigError
from videogen.media import read_video
from videogen.storage import LocalStorage
from videogen_cluster.failures import ErrorClass, describe
from videogen_cluster.listener import Listener
from videogen_cluster.scheduler import Completed, DeadLettered
from videogen_cluster.workload import RankContext
from videogen_pipelines.clip_workload import GenerateWorkload
from videogen_pipelines.config import EvaluateSection, load_run_config
from videogen_pipelines.engine import Items
from videogen_pipelines.evaluation.evaluate import evaluate
from videogen_pipelines.evaluation.gate import Gate, seed_of_try
from videogen_pipelines.evaluation.job import EvaluationJob
from videogen_pipelines.generate import Outcome, generate
from videogen_pipelines.inputs import ManifestInputs
from videogen_pipelines.job import Job, LoadedModel
from videogen_pipelines.keys import clip_key, meta_key, tries_key
from videogen_pipelines.sidecar import Sidecar, read_sidecar
from videogen_pipelines.verification.verifier import verify_run

CONFIGS = Path(__file__).parents[4] / "configs" / "evaluate"
FEW = "evaluate.metrics=[frame.colourfulness]"
GATE = Gate({"coherence.score": ">= 0.8", "motion.freeze": "< 0.2"}, max_tries=3)


def test_a_try_is_accepted_when_every_condition_holds():
    good = GATE.judge(1, 7, {"coherence.score": 0.8, "motion.freeze": 0.19})
    assert good.accepted
    bad = GATE.judge(1, 7, {"coherence.score": 0.79, "motion.freeze": 0.2})
    assert bad.complaints == (
        "coherence.score: got 0.79, expected >= 0.8",
        "motion.freeze: got 0.2, expected < 0.2",
    )


def test_a_metric_without_a_number_is_never_good_enough():
    verdict = GATE.judge(1, 7, {"motion.freeze": 0.0})
    assert verdict.complaints == ("coherence.score: got no number, expected >= 0.8",)


def test_the_best_is_accepted_else_nearest_else_first():
    near = GATE.judge(1, 7, {"coherence.score": 0.7, "motion.freeze": 0.0})
    far = GATE.judge(2, 8, {"coherence.score": 0.1, "motion.freeze": 0.0})
    good = GATE.judge(3, 9, {"coherence.score": 0.9, "motion.freeze": 0.1})
    absent = GATE.judge(1, 7, {"motion.freeze": 0.0})
    assert GATE.best([far, near, good]) is good
    assert GATE.best([far, near]) is near
    assert GATE.best([absent, far]) is far
    twin = GATE.judge(2, 8, dict(near.metrics))
    assert GATE.best([twin, near]) is near


def test_seeds_of_tries_are_stable_and_the_first_is_the_rows_own():
    assert seed_of_try(7, 1) == 7
    assert len({seed_of_try(7, n) for n in range(1, 9)} | {seed_of_try(8, 2)}) == 9
    assert seed_of_try(7, 2) == 9113550462188716274


def test_what_is_no_metric_is_refused():
    with pytest.raises(ConfigError, match=r"got 'coherence', expected a metric"):
        Gate.of(EvaluateSection(accept={"coherence": "> 1"}))
    with pytest.raises(ConfigError, match=r"expected a condition such as '>= 0.8'"):
        load_run_config(None, ['evaluate.accept={coherence.score: "about 1"}'])


def test_the_example_configurations_load():
    names = sorted(path.name for path in CONFIGS.glob("*.yaml"))
    assert names == ["gates.yaml", "pretrained.yaml"]
    for name in names:
        load_run_config(CONFIGS / name)
    gate = Gate.of(load_run_config(CONFIGS / "gates.yaml").evaluate)
    assert gate == Gate({"coherence.score": ">= 0.8", "motion.freeze": "< 0.2"}, 4, "keep")


def one_by_one(job: Job, items: Items, listener: Listener) -> bool:
    workload = GenerateWorkload(job.settings())
    workload.setup(RankContext(0, 0, 1, "cpu", 1))
    for item_id, payload in items:
        item = {**payload, "id": item_id, "attempt": 1, "degrade": 0}
        try:
            record = workload.compute(item, lambda stage, step, total: None)()
        except Exception as error:  # noqa: BLE001 - as an engine does
            listener.dead_lettered(DeadLettered(item_id, 1, describe(error)))
        else:
            listener.completed(Completed(item_id, 1, record))
    return False


@pytest.fixture
def run(tmp_path: Path, tiny_model: Path) -> Callable[..., Outcome]:
    def running(out: str, count: int, *settings: str) -> Outcome:
        manifest = tmp_path / f"{out}.jsonl"
        rows = [{"id": f"clip-{n}", "prompt": "a red circle", "seed": n} for n in range(count)]
        manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
        config = load_run_config(None, [f"model.name={tiny_model}", *settings])
        model = LoadedModel.read(config.model.name)
        inputs = ManifestInputs(str(manifest), model.defaults(config), model.check)
        job = Job.check(config, model, inputs, str(tmp_path / out))
        return generate(job, Console(file=io.StringIO()), engine=one_by_one)

    return running


def limit_that_rejects_some(out: Path, metric: str) -> float:
    """The median of a metric over the clips of a run."""
    return float(np.median(pq.read_table(out / "metrics/clips.parquet")[metric].to_numpy()))


def test_a_gate_makes_rejected_clips_again_and_keeps_the_best(
    run: Callable[..., Outcome], tmp_path: Path
):
    assert run("plain", 4, "evaluate.during=true", FEW).state == "complete"
    plain = LocalStorage(tmp_path / "plain")
    limit = limit_that_rejects_some(tmp_path / "plain", "frame.colourfulness")
    gate = f'evaluate.accept={{frame.colourfulness: ">= {limit}"}}'

    assert run("gated", 4, gate, "evaluate.max_tries=2", FEW).state == "complete"
    gated = LocalStorage(tmp_path / "gated")
    sidecars = [read_sidecar(gated, f"clip-{n}") for n in range(4)]
    assert {len(one.tries.tries) for one in sidecars} == {1, 2}
    for sidecar in sidecars:
        tries, before = sidecar.tries, read_sidecar(plain, sidecar.id)
        assert sidecar.clip_id == before.clip_id
        assert sidecar.request == before.request
        assert [one.seed for one in tries.tries] == [
            seed_of_try(sidecar.request.seed, one.number) for one in tries.tries
        ]
        values = [one.metrics["frame.colourfulness"] for one in tries.tries]
        assert tries.accepted == (max(values) >= limit)
        assert tries.kept.metrics["frame.colourfulness"] == max(values)
        assert sidecar.timings.denoise_s > 0
        same = np.array_equal(*(read_video(o.root / o_key(sidecar))[0] for o in (plain, gated)))
        assert same == (tries.chosen == 1)
    table = pq.read_table(tmp_path / "gated/metrics/clips.parquet").to_pylist()
    assert [row["tries"] for row in table] == [len(one.tries.tries) for one in sidecars]
    assert [row["seed"] for row in table] == [one.seed for one in sidecars]
    assert [row["measured_on"] for row in table] == ["frames"] * 4
    assert not list(tmp_path.glob("gated/.scratch/*/*"))
    assert verify_run(gated).proven


def test_a_later_evaluation_takes_over_what_was_scored_while_clips_were_made(
    run: Callable[..., Outcome], tmp_path: Path
):
    before = run("out", 2, "evaluate.during=true", FEW).evaluation
    assert (before["clips"], before["scored"]) == (2, 2)
    assert before["measured_on"] == {"frames": 2}
    console = Console(file=io.StringIO())

    def unreachable(*_: Any) -> bool:
        raise AssertionError("there was nothing to score")

    again = evaluate(EvaluationJob.check(str(tmp_path / "out")), console, engine=unreachable)
    assert (again.scored_now, again.summary) == (0, before)
    run("out", 3)  # one more, which nobody scored
    job = EvaluationJob.check(str(tmp_path / "out"), None, None, [FEW])
    assert job.unscored() == ["clip-2"]


def o_key(sidecar: Sidecar) -> str:
    return clip_key(sidecar.id)


def test_clips_without_an_accepted_try_fail_by_name_if_so_configured(
    run: Callable[..., Outcome], tmp_path: Path
):
    never = 'evaluate.accept={frame.colourfulness: "> 1e9"}'
    outcome = run("out", 1, never, "evaluate.max_tries=2", "evaluate.on_reject=fail")
    assert (outcome.state, outcome.counts.failed) == ("some_failed", 1)
    (error,) = (json.loads(line) for line in (tmp_path / "out/errors.jsonl").open())
    assert error["error_class"] == ErrorClass.REJECTED == "rejected"
    assert "got 2 tries, none accepted" in error["error_message"]
    history: dict[str, Any] = json.loads((tmp_path / "out" / tries_key("clip-0")).read_text())
    assert [one["number"] for one in history["tries"]] == [1, 2]
    assert not (tmp_path / "out" / clip_key("clip-0")).exists()


def test_an_adopted_clip_knows_which_try_it_was(run: Callable[..., Outcome], tmp_path: Path):
    never = ('evaluate.accept={frame.colourfulness: "> 1e9"}', "evaluate.max_tries=2")
    run("out", 1, *never)
    storage = LocalStorage(tmp_path / "out")
    before = read_sidecar(storage, "clip-0")
    assert before.tries is not None
    assert len(before.tries.tries) == 2
    storage.delete(meta_key("clip-0"))  # as if its writer had died in between
    assert run("out", 1, *never).state == "complete"
    after = read_sidecar(storage, "clip-0")
    assert after.warnings[-1].startswith("adopted")
    assert after.tries == before.tries
