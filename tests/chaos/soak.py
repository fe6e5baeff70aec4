"""A long run under constant fire: `python -m tests.chaos.soak --clips 2000 --minutes 20`.

Three nodes and an S3 server on this machine. Every few seconds something is killed or stopped (a
rank, a node that comes back, the coordinator), while a share of S3's replies fails. Rounds of rows
are made until both the clips and the minutes are reached, and every round must be proven by
`videogen verify`. Prints what was done to it and how the coordinator's memory went.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.ray_nodes import RayNodes
from tests.s3.proxy import FaultProxy
from tests.s3.server import S3Server, running_server
from tests.tiny import save_tiny_model

ROOT = Path(__file__).parents[2]
NUM_NODES = 3
MEBIBYTE = 2**20


@dataclass
class Soak:
    """What happened."""

    faults: Counter[str] = field(default_factory=Counter)
    memory_mb: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the coordinator of the moment began, and its resident memory."""
    clips: int = 0
    redone: int = 0


@dataclass(frozen=True)
class Ground:
    """Where it happens."""

    nodes: RayNodes
    server: S3Server
    proxy: FaultProxy
    folder: Path
    model: Path
    env: dict[str, str]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--kill-every-s", type=float, default=6.0, help="mean time between faults")
    parser.add_argument("--round", type=int, default=2000, help="rows of one run")
    parser.add_argument("--weather", type=float, default=0.05, help="share of S3 replies that fail")
    parser.add_argument("--num-inference-steps", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    soak, started, dice = Soak(), time.monotonic(), random.Random(chosen.seed)
    with prepared() as ground:
        ground.proxy.add_weather(chosen.weather)
        number = 0
        while soak.clips < chosen.clips or time.monotonic() - started < 60 * chosen.minutes:
            one_round(ground, soak, dice, number, chosen)
            number += 1
            say(f"round {number}: {soak.clips} clips after {time.monotonic() - started:.0f} s")
        expect_nothing_left(ground)
    report(soak, time.monotonic() - started, ground.proxy)
    return 0


@contextmanager
def prepared() -> Iterator[Ground]:
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as name,
        running_server() as server,
        FaultProxy(server.endpoint) as proxy,
    ):
        folder = Path(name)
        scratch = folder / "tmp"
        scratch.mkdir()
        (folder / "model").mkdir()
        roots = os.pathsep.join(str(ROOT / part) for part in (".", "cluster", "pipelines"))
        env = {
            **server.environment(proxy.endpoint),
            "TMPDIR": str(scratch),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": roots,
        }
        model = save_tiny_model(folder / "model")
        nodes = RayNodes(NUM_NODES, num_cpus=1, env=env)
        try:
            yield Ground(nodes, server, proxy, folder, model, {**os.environ, **env})
        finally:
            nodes.close()


def one_round(
    ground: Ground, soak: Soak, dice: random.Random, number: int, chosen: argparse.Namespace
) -> None:
    """Make one manifest's clips under fire and prove them."""
    manifest = ground.folder / f"rows-{number}.jsonl"
    rows = [
        {"id": f"r{number}-{n:05d}", "prompt": "a red circle", "seed": n}
        for n in range(chosen.round)
    ]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = f"s3://{ground.server.bucket}/soak/{number}"
    command = [
        *("generate", str(manifest), "--out", out, "--model", str(ground.model), "--json"),
        *(f"--set=cluster.address={ground.nodes.address}", "--set=cluster.hang_timeout_s=10"),
        # Nobody's fault here is a clip's: bad luck must not use up what it may cost.
        *("--set=cluster.max_attempts=20", "--set=cluster.max_gang_deaths=40"),
        f"--set=sampling.num_inference_steps={chosen.num_inference_steps}",
    ]
    program = start(ground, command)
    began = time.monotonic()
    while True:
        pause(program, dice.expovariate(1 / chosen.kill_every_s), soak, began)
        if program.poll() is not None:
            break
        if dice.random() < 0.03:
            soak.faults["kill -9 the coordinator"] += 1
            program.kill()
            program.wait()
            program, began = start(ground, command), time.monotonic()
        else:
            soak.faults[harm(ground, dice)] += 1
    output = program.communicate()[0]
    expect(program.returncode == 0, f"the run ended with {program.returncode}: {output}")
    done = json.loads(output)
    expect((done["done"], done["failed"]) == (chosen.round, 0), f"got {done}")
    verify = start(ground, ["verify", out, "--json"])
    proof = verify.communicate()[0]
    expect(verify.returncode == 0, f"verify found {proof}")
    soak.clips += chosen.round


def harm(ground: Ground, dice: random.Random) -> str:
    """Do one bad thing; returns its name."""
    ranks = ground.nodes.ranks()
    kind = dice.random()
    if kind < 0.05:
        ground.nodes.kill_node(ground.nodes.nodes.pop(0))
        ground.nodes.nodes.append(ground.nodes.add_node())
        return "kill a node, add another"
    if not ranks:
        return "nothing there to kill"
    number = signal.SIGSTOP if kind < 0.15 else signal.SIGKILL
    try:
        os.kill(dice.choice(ranks), number)
    except ProcessLookupError:
        return "nothing there to kill"
    return f"{number.name} a rank"


def start(ground: Ground, arguments: list[str]) -> subprocess.Popen[str]:
    log = (ground.folder / "log").open("a")
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "videogen_pipelines", *arguments],
        cwd=ground.folder,
        env=ground.env,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
    )


def pause(program: subprocess.Popen[str], wait_s: float, soak: Soak, began: float) -> None:
    """Wait, or until the program ends, and look at its memory."""
    try:
        program.wait(wait_s)
    except subprocess.TimeoutExpired:
        pages = int(Path(f"/proc/{program.pid}/statm").read_text().split()[1])
        memory = pages * os.sysconf("SC_PAGE_SIZE") / MEBIBYTE
        soak.memory_mb.append((time.monotonic() - began, memory))


def expect_nothing_left(ground: Ground) -> None:
    deadline = time.monotonic() + 60
    while left := leftovers(ground):
        expect(time.monotonic() < deadline, f"left behind: {left}")
        time.sleep(1)


def leftovers(ground: Ground) -> list[str]:
    """Placement groups, actors, ranks and temporary files that no run needs any more."""
    leaks = ground.nodes.leaks()
    files = [path.name for path in (ground.folder / "tmp").iterdir()]
    return [
        *leaks["placement_groups"],
        *leaks["actors"],
        *(f"rank {pid}" for pid in ground.nodes.ranks()),
        *(name for name in files if name.startswith("videogen")),
    ]


def report(soak: Soak, elapsed_s: float, proxy: FaultProxy) -> None:
    say(f"{soak.clips} clips in {elapsed_s / 60:.1f} min: none lost, none twice, none damaged")
    for name, count in sorted(soak.faults.items()):
        say(f"  {count:5d}  {name}")
    for name, count in sorted(proxy.counts.items()):
        say(f"  {count:5d}  S3: {name}")
    settled = [memory for age, memory in soak.memory_mb if age > 60]
    if settled:
        tenth = max(1, len(settled) // 10)
        first, last = sum(settled[:tenth]) / tenth, sum(settled[-tenth:]) / tenth
        say(f"coordinator: {first:.0f} MiB after a minute, {last:.0f} MiB at the end")


def expect(holds: bool, problem: str) -> None:
    if not holds:
        raise SystemExit(f"soak: {problem}")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
