"""Ray's death errors are read into the class that decides who pays for them."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RuntimeEnvSetupError,
)

from videogen_cluster.failures import ErrorClass
from videogen_cluster.losses import explain_loss, log_tail

PREEMPTION = ErrorClass.PREEMPTION
MEMORY_MONITOR = RayActorError(
    error_msg="The actor died. It was killed due to the node running low on memory."
)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ActorDiedError(), ErrorClass.RANK_DEATH),
        (RayActorError(preempted=True), ErrorClass.PREEMPTION),
        (NodeDiedError("the node died"), ErrorClass.PREEMPTION),
        (OutOfMemoryError("killed"), ErrorClass.OUT_OF_MEMORY),
        (MEMORY_MONITOR, ErrorClass.OUT_OF_MEMORY),
        (RayActorError(error_msg="The actor died because its node has died."), PREEMPTION),
        (RuntimeEnvSetupError("no such package"), ErrorClass.RANK_DEATH),
        (RayActorError(error_msg="No module named 'videogen_cluster'"), ErrorClass.ENVIRONMENT),
    ],
)
def test_a_rank_that_died_before_it_said_where_it_runs(error: RayError, expected: ErrorClass):
    assert explain_loss(error, None).error_class is expected


@pytest.mark.parametrize(
    ("alive", "expected"), [(True, ErrorClass.RANK_DEATH), (False, ErrorClass.PREEMPTION)]
)
@pytest.mark.parametrize("error", [ActorDiedError(), ActorUnavailableError("no answer", None)])
def test_a_rank_that_went_with_its_node_is_not_to_blame(
    error: RayError, alive: bool, expected: ErrorClass, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ray, "nodes", lambda: [{"NodeID": "n1", "Alive": alive}])
    assert explain_loss(error, "n1").error_class is expected


@pytest.mark.parametrize(
    "guesses",
    ["There are some potential root causes. (1) ...", "Some common causes include: (1) ..."],
)
def test_the_message_is_one_line_without_guesses_and_the_log_is_kept(guesses: str):
    told = f"died.\n\tclass_name: Rank\n\tpid: 7\n{guesses}"
    failure = explain_loss(RayActorError(error_msg=told), None, "Segmentation fault")
    assert failure.message == "died. pid: 7"
    assert failure.traceback == "Segmentation fault"


def test_the_end_of_a_ranks_error_output_is_found_by_its_pid(tmp_path: Path):
    (tmp_path / "worker-abc-01-77.err").write_text("x" * 5000 + "\nFatal Python error: Aborted\n")
    (tmp_path / "worker-abc-01-78.err").write_text("another rank")
    assert log_tail(tmp_path, 77).endswith("Fatal Python error: Aborted")
    assert len(log_tail(tmp_path, 77)) <= 2000
    assert log_tail(tmp_path, 79) == ""
    assert log_tail(None, 77) == log_tail(tmp_path, None) == ""


def test_a_node_without_our_code_is_told_how_to_get_it():
    error = RayActorError(error_msg="No module named 'videogen_cluster'")
    assert "Fix: install videogen on every node" in explain_loss(error, None).message
