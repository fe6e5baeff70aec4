"""Three nodes, an S3 server, the shipped model, and something that dies: every row is one clip.

Each test breaks one thing while clips are made, then has `videogen verify` prove the outcome.
At the end the session prints what was broken, how soon that was noticed and what was made again.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.ray_nodes import RayNodes
from tests.chaos.runs import FaultLine, FaultTable, Run, wait_for
from tests.s3.proxy import FaultProxy
from tests.s3.server import S3Server

pytestmark = [pytest.mark.chaos, pytest.mark.cluster, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
NUM_NODES = 3
HANG_TIMEOUT_S = 10
COLOURS = ("red", "green", "blue", "yellow", "white", "cyan")
SHAPES = ("circle", "square", "triangle")


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[FaultTable]:
    """Collects a line per fault and shows them at the end."""
    lines = FaultTable()
    yield lines
    capture: Any = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        sys.stdout.write(f"\n{lines.render()}\n")


@pytest.fixture(scope="module")
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    """What the whole cluster speaks to S3 through."""
    with FaultProxy(s3_server.endpoint) as found:
        yield found


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """The temporary folder of everything that runs, to see what is left in it.

    Its name is short, because Ray's sockets lie in it and theirs may not exceed 107 bytes.
    """
    with tempfile.TemporaryDirectory(prefix="vg-", dir="/tmp", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def nodes(s3_server: S3Server, proxy: FaultProxy, scratch: Path) -> Iterator[RayNodes]:
    env = {
        **s3_server.environment(proxy.endpoint),
        "TMPDIR": str(scratch),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in (".", "cluster", "pipelines")),
    }
    found = RayNodes(NUM_NODES, num_cpus=1, env=env)
    yield found
    found.close()


@pytest.fixture
def run(
    nodes: RayNodes,
    s3_env: S3Server,
    proxy: FaultProxy,
    scratch: Path,
    start_program: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    thorough: bool,
) -> Iterator[Run]:
    """Rows, three nodes and an output of its own; afterwards nothing may be left behind."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    monkeypatch.setenv("TMPDIR", str(scratch))
    while len(nodes.nodes) < NUM_NODES:
        nodes.nodes.append(nodes.add_node())
    proxy.clear()
    manifest = tmp_path / "rows.jsonl"
    write_rows(manifest, 60 if thorough else 30)
    yield Run(start_program, nodes.address, s3_env.uri(secrets.token_hex(4)), manifest)
    proxy.clear()


def write_rows(manifest: Path, count: int) -> None:
    rows = [
        {
            "id": f"clip-{index:02d}",
            "prompt": f"a {COLOURS[index % 6]} {SHAPES[index % 3]} moving right",
            "num_inference_steps": 6,
            "num_frames": 9,
        }
        for index in range(count)
    ]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))


def expect_proof(run: Run, nodes: RayNodes, scratch: Path, program: Any) -> None:
    """The program ended well, every row is one clip, and nothing is left anywhere."""
    ended = program.wait(240)
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert (report["state"], report["done"], report["failed"]) == ("complete", run.num_rows(), 0)
    run.verify()
    expect_nothing_left(nodes, scratch)


def expect_nothing_left(nodes: RayNodes, scratch: Path) -> None:
    nothing: dict[str, list[str]] = {"placement_groups": [], "actors": []}
    wait_for(lambda: nodes.leaks() == nothing, 30, f"no leaks, got {nodes.leaks()}")
    wait_for(lambda: nodes.ranks() == [], 30, "the ranks to end")
    assert [path.name for path in scratch.iterdir() if path.name.startswith("videogen")] == []


def some_done(run: Run, program: Any, count: int = 8) -> None:
    """Wait until the run is well under way."""
    program.wait_until(lambda: run.committed() >= count, 120)


def line(table: FaultTable, run: Run, fault: str, at: float, *, loses_gang: bool = True) -> None:
    """Add what the event log knows of a fault that happened `at`."""
    lost = run.events("gang_lost", since=at)
    ready = [
        event
        for event in run.events("gang_ready", since=at)
        if not lost or event["at"] > lost[0]["at"]
    ]
    started = run.events("run_started")[0]["at"]
    table.rows.append(
        FaultLine(
            fault=fault,
            detected_s=lost[0]["at"] - at if lost and loses_gang else None,
            recovered_s=ready[0]["at"] - at if ready else None,
            redone=sum(event["redone"] for event in run.events("clip_again", since=at)),
            clips=run.committed(),
            elapsed_s=run.events("run_ended")[-1]["at"] - started,
        )
    )


def test_kill_a_rank(run: Run, nodes: RayNodes, scratch: Path, table: FaultTable):
    program = run.generate()
    some_done(run, program)
    at = time.time()
    os.kill(random.Random(0).choice(nodes.ranks()), signal.SIGKILL)
    expect_proof(run, nodes, scratch, program)
    line(table, run, "kill -9 a rank", at)
    assert len(run.events("gang_lost")) == 1


def test_stop_a_rank(run: Run, nodes: RayNodes, scratch: Path, table: FaultTable):
    """SIGSTOP: Ray itself notices nothing."""
    program = run.generate(hang_timeout_s=HANG_TIMEOUT_S)
    some_done(run, program)
    at = time.time()
    os.kill(random.Random(1).choice(nodes.ranks()), signal.SIGSTOP)
    expect_proof(run, nodes, scratch, program)
    line(table, run, f"SIGSTOP a rank, hang timeout {HANG_TIMEOUT_S} s", at)
    assert [event["error_class"] for event in run.events("gang_lost")] == ["hang"]


def test_kill_a_node(run: Run, nodes: RayNodes, scratch: Path, table: FaultTable):
    program = run.generate()
    some_done(run, program)
    at = time.time()
    nodes.kill_node(nodes.nodes.pop())
    expect_proof(run, nodes, scratch, program)
    line(table, run, "kill a node", at)
    assert run.events("node_left")


def test_add_a_node(run: Run, nodes: RayNodes, scratch: Path, table: FaultTable):
    write_rows(run.manifest, 60)  # enough to be there when the new node is ready
    nodes.remove_node(nodes.nodes.pop())
    program = run.generate()
    some_done(run, program, 4)
    at = time.time()
    nodes.nodes.append(nodes.add_node())
    expect_proof(run, nodes, scratch, program)
    line(table, run, "add a node", at, loses_gang=False)
    gangs = {event["gang"] for event in run.events("clip_done", since=at)}
    assert len(gangs) == NUM_NODES, "the new node made no clip"


def test_kill_the_coordinator(run: Run, nodes: RayNodes, scratch: Path, table: FaultTable):
    program = run.generate()
    some_done(run, program)
    at = time.time()
    program.kill()
    expect_proof(run, nodes, scratch, run.generate())
    line(table, run, "kill -9 the coordinator, run again", at, loses_gang=False)


def test_two_coordinators(run: Run, nodes: RayNodes, scratch: Path, table: FaultTable):
    """The second is refused while the first lives."""
    write_rows(run.manifest, 80)  # the first has to be there still when the second has understood
    program = run.generate()
    some_done(run, program)
    at = time.time()
    second = run.generate().wait(120)
    assert second.code == 3, second.err
    assert "Fix:" in second.err
    expect_proof(run, nodes, scratch, program)
    line(table, run, "two coordinators", at, loses_gang=False)


def test_a_coordinator_that_sleeps_is_replaced(
    run: Run, nodes: RayNodes, scratch: Path, table: FaultTable
):
    """The first is stopped until its lease is taken over; when it wakes up, it must give way."""
    first = run.generate()
    some_done(run, first)
    at = time.time()
    first.process.send_signal(signal.SIGSTOP)
    second = run.generate()
    program_started = len(run.events("run_started"))
    wait_for(lambda: len(run.events("run_started")) > program_started, 90, "the takeover")
    first.process.send_signal(signal.SIGCONT)
    ended = first.wait(90)
    assert ended.code == 3, ended.err
    expect_proof(run, nodes, scratch, second)
    line(table, run, "SIGSTOP the coordinator, start another", at, loses_gang=False)


def test_s3_in_bad_weather(
    run: Run, nodes: RayNodes, scratch: Path, table: FaultTable, proxy: FaultProxy
):
    at = time.time()
    proxy.add_weather(0.05)
    expect_proof(run, nodes, scratch, run.generate())
    line(table, run, "5 % of S3 replies 503, lost or late", at, loses_gang=False)
    assert proxy.counts["refuse 503"] > 0
    assert proxy.counts["lose_reply"] > 0
