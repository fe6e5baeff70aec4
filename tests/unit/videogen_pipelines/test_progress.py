"""What a person sees while a run goes on."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from videogen_cluster.health import Activity
from videogen_cluster.listener import Snapshot
from videogen_pipelines.progress import Progress, Speed


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def snapshot(completed: int = 0, dead: int = 0, ready: int = 1, stopping: bool = False) -> Snapshot:
    activity = Activity("clip-7", "denoise", 3, 16, 0.1)
    return Snapshot(completed, dead, ready, 1, (activity,) if ready else (), stopping)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make(clock: Clock, *, terminal: bool, interval_s: float = 10.0) -> tuple[Progress, io.StringIO]:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100, color_system=None)
    return Progress(10, console, interval_s, clock), text


def test_speed_counts_from_the_first_gang_that_was_ready():
    assert Speed.of(ended=5, to_do=20, elapsed_s=30.0) == Speed(10.0, 90.0)


def test_nothing_ended_means_no_speed():
    assert Speed.of(0, 20, 30.0) == Speed(None, None)


def test_outside_a_terminal_there_is_a_line_per_interval(clock: Clock):
    progress, text = make(clock, terminal=False)
    with progress:
        progress.update(snapshot(ready=0))
        clock.now += 10
        progress.update(snapshot(ready=0))
        clock.now += 5
        progress.update(snapshot(completed=1))
        clock.now += 30
        progress.update(snapshot(completed=3, dead=1))
    assert text.getvalue().splitlines() == [
        "0/10 clips, loading model",
        "3/10 clips, 1 failed, 8.0 clips/min, 45.0 s left, clip-7: denoise 3/16",
        "3/10 clips, 1 failed, 8.0 clips/min, 45.0 s left, clip-7: denoise 3/16",
    ]


def test_a_terminal_shows_counts_speed_and_what_is_being_made(clock: Clock):
    progress, text = make(clock, terminal=True)
    with progress:
        progress.update(snapshot())
        clock.now += 60
        progress.update(snapshot(completed=5))
    last = text.getvalue()[text.getvalue().rindex("5/10") :]
    assert "5/10 clips · 5.0 clips/min · 1 min 00 s left" in last
    assert "clip-7: denoise 3/16" in last


def test_a_stopping_run_promises_no_time(clock: Clock):
    progress, _ = make(clock, terminal=False)
    progress.update(snapshot(completed=2, stopping=True))
    assert progress.line() == "2/10 clips, stopping, clip-7: denoise 3/16"


def test_a_prompt_with_markup_is_shown_as_it_is(clock: Clock):
    progress, text = make(clock, terminal=False)
    progress.say("failed [red]a[/nothing]")
    assert text.getvalue() == "failed [red]a[/nothing]\n"


def test_a_run_that_waits_for_a_cluster_says_so(clock: Clock):
    progress = Progress(3, Console(file=io.StringIO()), clock=clock)
    progress.update(replace(snapshot(ready=0), gangs_waiting=1))
    assert progress.line() == "0/3 clips, waiting until the cluster has room"
