"""How a run stands, from storage alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from videogen.errors import StorageError
from videogen.storage import LocalStorage
from videogen_pipelines.control import note_submitted
from videogen_pipelines.run_directory import RunDirectory
from videogen_pipelines.run_record import RunRecord
from videogen_pipelines.run_view import look
from videogen_pipelines.sidecar import now
from videogen_pipelines.status import Coordinator, Status, write_status

RECORD = RunRecord.of({}, "prompts.jsonl", "m" * 64, "tiny", "d" * 64, num_rows=5)


class Unlistable(LocalStorage):
    """A store where a listing would take for ever."""

    def list(self, prefix: str = "") -> Iterator[str]:
        raise AssertionError(f"listed '{prefix}'")


def status(state: Any, **fields: Any) -> Status:
    at = now()
    return Status(
        invocation=1,
        state=state,
        started_at=at,
        updated_at=at,
        rows=5,
        done=2,
        failed=1,
        pending=2,
        errors_by_class={"hang": 1},
        coordinator=Coordinator(node="n", pid=7),
        **fields,
    )


def test_a_running_run_is_one_small_object(storage: LocalStorage):
    write_status(storage, status("running"))
    view = look(Unlistable(storage.root))
    assert (view.state, view.rows, view.done, view.failed, view.pending) == ("running", 5, 2, 1, 2)
    assert not view.ended
    assert view.to_dict()["gangs"] == {"ready": 0, "total": 0, "lost": 0}


@pytest.mark.parametrize(("passed_s", "state"), [(59, "running"), (180, "silent")])
def test_a_run_that_is_not_heard_of_is_silent(storage: LocalStorage, passed_s: int, state: str):
    written = status("running")
    write_status(storage, written)
    view = look(storage, written.updated_at + timedelta(seconds=passed_s))
    assert (view.state, view.silent_s) == (state, passed_s)
    assert view.ended == (state == "silent")


def test_a_run_that_ended_may_be_silent_for_years(storage: LocalStorage):
    written = status("complete")
    write_status(storage, written)
    view = look(storage, written.updated_at + timedelta(days=900))
    assert (view.state, view.silent_s, view.ended) == ("complete", None, True)


def test_a_clock_that_is_behind_makes_nobody_silent(storage: LocalStorage):
    written = status("running")
    write_status(storage, written)
    assert look(storage, written.updated_at - timedelta(hours=1)).silent_s == 0


def test_without_a_status_the_clips_are_counted(storage: LocalStorage):
    with RunDirectory(storage) as run:
        run.initialise(RECORD)
        run.record_failure("bad", "non_finite", "NaN", 2)
    view = look(storage)
    assert (view.state, view.rows, view.failed, view.pending) == ("unknown", 5, 1, 4)
    assert view.errors_by_class == {"non_finite": 1}
    assert view.ended


def test_a_job_that_has_not_started_is_submitted_until_it_says_something(storage: LocalStorage):
    note_submitted(storage, "job-1", "http://head:8265")
    view = look(Unlistable(storage.root))
    assert (view.state, view.submitted.job_id, view.ended) == ("submitted", "job-1", False)
    write_status(storage, status("interrupted"))
    assert look(storage).state == "interrupted"
    note_submitted(storage, "job-2", "http://head:8265")
    assert (look(storage).state, look(storage).done) == ("submitted", 2)
    write_status(storage, status("running"))
    assert look(storage).state == "running"


def test_what_a_killed_run_said_last_does_not_hide_the_job_that_continues_it(
    storage: LocalStorage,
):
    killed = status("running", job_id="job-1")
    write_status(storage, killed)
    note_submitted(storage, "job-2", "http://head:8265")
    for passed_s in (10, 180):
        view = look(storage, killed.updated_at + timedelta(seconds=passed_s))
        assert (view.state, view.ended, view.done) == ("submitted", False, 2)


def test_a_job_has_spoken_even_if_its_clock_is_behind_that_of_the_one_who_sent_it(
    storage: LocalStorage,
):
    written = status("running", job_id="job-1")
    note_submitted(storage, "job-1", "http://head:8265")
    write_status(storage, written)
    assert look(storage, written.updated_at).state == "running"
    assert look(storage, written.updated_at + timedelta(minutes=3)).state == "silent"


def test_any_other_folder_is_refused(storage: LocalStorage):
    with pytest.raises(StorageError, match=r"run.json"):
        look(storage)
