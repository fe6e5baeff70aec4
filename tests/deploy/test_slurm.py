"""The batch script, run with stand-ins for Slurm, Ray and the program that record their calls."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "cluster/deploy/slurm.sbatch"
STAND_INS = {
    # Drops its options and becomes the command, on this machine.
    "srun": 'echo "srun $*" >>"$CALLS"; while [[ $1 == --* ]]; do shift; done; exec "$@"',
    "scontrol": (
        'echo "scontrol $*" >>"$CALLS"; [[ $1 != show ]] || printf "n%d\\n" $(seq ${NODES:-3})'
    ),
    "hostname": (
        '[[ $1 == --ip-address ]] && echo "${RESOLVED-10.0.0.1 fe80::1}" ||'
        ' echo "${INTERFACES-10.0.0.9 172.17.0.1}"'
    ),
    "ray": (
        'echo "ray $*" >>"$CALLS"; [[ $1 != health-check ]] || { [[ -s $CALLS.pids ]]; exit; };'
        ' echo "${#RAY_AUTH_TOKEN} $RAY_AUTH_MODE" >>"$CALLS.token"; echo $$ >>"$CALLS.pids";'
        " [[ $2 == --head || ! -v UNREACHED ]] || exit 1; exec sleep 60"
    ),
    "videogen": (
        'echo "videogen $*" >>"$CALLS"; trap "echo drained >>\\"$CALLS\\"; exit 130" TERM;'
        ' until [[ $(wc -l <"$CALLS.pids") -eq ${NODES:-3} ]]; do sleep 0.05; done;'
        ' for ((i = 0; i < ${BUSY_TENTHS:-0}; i++)); do sleep 0.1; done; exit "${STATUS:-0}"'
    ),
}

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    return tmp_path / "calls"


@pytest.fixture
def start(tmp_path: Path, calls: Path) -> Start:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in STAND_INS.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    # Other tests of the session may have a Ray with a token of its own.
    inherited = {name: value for name, value in os.environ.items() if "RAY_" not in name}
    environment = {
        **inherited,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "CALLS": str(calls),
        "SLURM_JOB_ID": "1234567",
        "SLURM_JOB_NODELIST": "n[1-3]",
        "SLURM_CPUS_PER_TASK": "64",
        "SLURM_GPUS_ON_NODE": "8",
    }

    def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(SCRIPT), *arguments],
            env={**environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def wait_for(calls: Path, words: str) -> None:
    deadline = time.monotonic() + 20
    while not calls.exists() or words not in calls.read_text():
        assert time.monotonic() < deadline, f"no {words}"
        time.sleep(0.02)


def are_gone(calls: Path) -> bool:
    pids = Path(f"{calls}.pids").read_text().split()
    return all(not Path(f"/proc/{pid}").exists() for pid in pids)


def test_bash_reads_it():
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)


def test_a_head_then_workers_then_the_run_then_nothing(start: Start, calls: Path):
    process = start("rows.jsonl", "/shared/out", "--set", "sampling.eta=0.5")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    said = calls.read_text().splitlines()
    ray = [line for line in said if line.startswith("ray start")]
    assert "--head" in ray[0] and "--num-gpus=8" in ray[0] and "--num-cpus=64" in ray[0]
    assert "--dashboard-host=127.0.0.1" in ray[0]
    assert "--address=10.0.0.1:24567" in ray[1] and "--block" in ray[1]
    for node in ("n1", "n2", "n3"):
        assert sum(f"--nodelist={node} ray start" in line for line in said) == 1
    assert (
        "videogen generate rows.jsonl --out /shared/out --set cluster.address=10.0.0.1:24567 "
        "--set sampling.eta=0.5" in said
    )
    assert are_gone(calls)
    assert "requeue" not in calls.read_text()


@pytest.mark.parametrize(
    ("resolved", "interfaces", "head"),
    [
        ("127.0.1.1", "10.0.0.9 172.17.0.1", "10.0.0.9"),  # Debian's /etc/hosts
        ("::1 127.0.0.1", "fd00::5 169.254.0.3 10.0.0.9", "10.0.0.9"),
        ("fe80::1%eth0 10.0.0.1", "10.0.0.9", "10.0.0.1"),
        ("", "10.0.0.9", "10.0.0.9"),
    ],
)
def test_the_head_is_where_other_nodes_reach_it(
    start: Start, calls: Path, resolved: str, interfaces: str, head: str
):
    process = start("rows.jsonl", "out", RESOLVED=resolved, INTERFACES=interfaces)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert f"cluster.address={head}:24567" in calls.read_text()
    assert "the worker" not in output


def test_a_head_that_no_other_node_can_reach_is_refused(start: Start, calls: Path):
    process = start("rows.jsonl", "out", RESOLVED="127.0.1.1", INTERFACES="fd00::5")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "got no IPv4 address of n1 but loopback" in output
    assert "ray start" not in calls.read_text()


def test_one_node_alone_needs_no_network(start: Start, calls: Path):
    process = start("rows.jsonl", "out", NODES="1", RESOLVED="127.0.1.1", INTERFACES="")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "cluster.address=127.0.0.1:24567" in calls.read_text()


def test_workers_that_cannot_join_are_named(start: Start, calls: Path):
    process = start("rows.jsonl", "out", UNREACHED="1", BUSY_TENTHS="25")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    for node in ("n2", "n3"):
        assert f"the worker on {node} ended" in output
    assert "the worker on n1" not in output
    assert are_gone(calls)


def test_every_node_gets_the_token_and_no_command_line_shows_it(start: Start, calls: Path):
    process = start("rows.jsonl", "out", BUSY_TENTHS="5")
    wait_for(calls, "videogen generate")
    environment = Path(f"/proc/{process.pid}/environ").read_text()
    assert "RAY_AUTH_TOKEN" not in environment  # made by the script, not given to it
    process.communicate(timeout=60)
    assert Path(f"{calls}.token").read_text().splitlines() == ["64 token"] * 3
    assert "TOKEN" not in calls.read_text()


def test_shortly_before_the_time_is_up_it_drains_and_is_queued_again(start: Start, calls: Path):
    process = start("rows.jsonl", "out", BUSY_TENTHS="300")
    wait_for(calls, "videogen generate")
    time.sleep(0.3)
    process.send_signal(signal.SIGUSR1)
    output, _ = process.communicate(timeout=60)
    said = calls.read_text()
    assert process.returncode == 130, output
    assert "drained" in said and "scontrol requeue 1234567" in said
    assert are_gone(calls)


def test_a_preempted_job_drains_and_leaves_the_queue_to_slurm(start: Start, calls: Path):
    process = start("rows.jsonl", "out", BUSY_TENTHS="300")
    wait_for(calls, "videogen generate")
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    said = calls.read_text()
    assert "drained" in said and "requeue" not in said
    assert are_gone(calls)


@pytest.mark.parametrize("status", ["1", "2", "3"])
def test_the_exit_code_is_that_of_the_run(start: Start, calls: Path, status: str):
    process = start("rows.jsonl", "out", STATUS=status)
    process.communicate(timeout=60)
    assert process.returncode == int(status)
    assert are_gone(calls)


def test_without_arguments_it_says_how_to_use_it(start: Start, calls: Path):
    process = start()
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "usage: sbatch slurm.sbatch MANIFEST OUT" in output
    assert not calls.exists()
