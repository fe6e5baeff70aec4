"""What the coordinator costs without a model: items a second, and resumes of a huge run.

    python scripts/bench_orchestrator.py --rows 1000000

Builds an output of that many rows on this disk (sidecars and clips are links to empty files: a
resume lists them and reads the ledger), then measures, each in a process of its own:

- throughput: rows through manifest, scheduler, listeners and ledger, with gangs that take no time;
- half done: from the start of the command to the first clip handed to a gang;
- finish: writing the results of a run whose last clip is done;
- finished: from the start of the command to the end of it, for a run that is complete.

Ends with 1 if a limit is exceeded.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console

from videogen.storage import LocalStorage
from videogen_cluster.failures import ErrorClass, Failure
from videogen_cluster.limits import Limits
from videogen_cluster.listener import Listener
from videogen_cluster.scheduler import Completed, DeadLettered, Requeued, Scheduler
from videogen_pipelines.config import load_run_config
from videogen_pipelines.engine import Items
from videogen_pipelines.generate import generate
from videogen_pipelines.inputs import ManifestInputs
from videogen_pipelines.job import Job, LoadedModel
from videogen_pipelines.keys import clip_key, meta_key
from videogen_pipelines.ledger import LedgerWriter
from videogen_pipelines.plan import PlannedClip

GIB = 2**30
MAX_SECONDS, MAX_BYTES, MIN_ITEMS_PER_S = 60.0, 1.5 * GIB, 1000.0
THROUGHPUT_ITEMS = 50_000
NUM_GANGS = 64


class FirstDispatchError(Exception):
    """Ends a command at the first clip that it hands out."""


def make_job(folder: Path, out: str) -> Job:
    config = load_run_config(None, ["output.contact_sheet=false"])
    model = LoadedModel.read(config.model.name)
    inputs = ManifestInputs(str(folder / "rows.jsonl"), model.defaults(config), model.check)
    return Job.check(config, model, inputs, str(folder / out))


def write_manifest(folder: Path, num_rows: int) -> None:
    with (folder / "rows.jsonl").open("w") as file:
        for number in range(num_rows):
            prompt = f"a red circle moves to the right, take {number}"
            file.write(json.dumps({"id": f"prompt-{number:08d}", "prompt": prompt}) + "\n")


def outcome(name: str, clip_id: str) -> dict[str, Any]:
    """What a rank reports of a clip, in the size that it has in real runs."""
    return {
        "id": name,
        "clip_id": clip_id,
        "state": "done",
        "key": None,
        "sha256": clip_id * 2,
        "bytes": 123_456,
        "duration_s": 2.125,
        "codec": "h264",
        "attempts": 1,
        "denoise_s": 2.34567890123,
        "decode_s": 0.34567890123,
        "encode_s": 0.14567890123,
        "commit_s": 0.01567890123,
        "gpu_s": 2.6913578,
        "node": "node-17",
        "gang": "gang-3",
        "created_at": 1.7e9,
        "warnings": [],
    }


def add_clips(storage: LocalStorage, clips: Iterator[PlannedClip], epoch: int) -> None:
    """Commit clips as far as listings and the ledger can tell."""
    writer = LedgerWriter(storage, epoch)
    for clip in clips:
        for key in (clip_key(clip.request.id), meta_key(clip.request.id)):
            link(storage.root / key)
        writer.append(outcome(clip.request.id, clip.clip_id))
    writer.flush()


def link(path: Path) -> None:
    """A name for the empty file of its folder: no file system allows a million for one file."""
    template = path.parent.parent / f".empty-{path.parent.name}"
    try:
        path.hardlink_to(template)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        template.touch()
        path.hardlink_to(template)


def measure_throughput(folder: Path) -> dict[str, float]:
    """Items a second between the first lease and the last record in the ledger."""
    job = make_job(folder, "throughput")
    spent: list[float] = []

    def engine(job: Job, items: Items, listener: Listener) -> bool:
        started = time.perf_counter()
        run_scheduler(islice(items, THROUGHPUT_ITEMS), listener)
        spent.append(time.perf_counter() - started)
        return True

    generate(job, Console(file=io.StringIO()), engine=engine)
    num_items = min(THROUGHPUT_ITEMS, job.report.num_clips)
    return {"seconds": spent[0], "items_per_s": num_items / spent[0]}


def run_scheduler(items: Items, listener: Listener) -> None:
    """Gangs that take no time; every hundredth attempt fails and is made again."""
    scheduler = Scheduler(Limits(queue_capacity=4 * NUM_GANGS), NUM_GANGS)
    for gang in range(NUM_GANGS):
        scheduler.gang_ready(gang)
    source = iter(items)
    failure = Failure(ErrorClass.ENCODE, "as it happens")
    while not scheduler.finished:
        for item in islice(source, scheduler.room()):
            scheduler.offer(*item)
        if scheduler.room():
            scheduler.close()
        for gang in range(NUM_GANGS):
            lease = scheduler.lease(gang, time.monotonic())
            if lease is None:
                continue
            if lease.number % 100 == 0:
                decision = scheduler.failed(lease, failure, time.monotonic())
            else:
                record = outcome(lease.item_id, lease.payload["clip_id"])
                decision = scheduler.completed(lease, record)
            tell(listener, decision)


def tell(listener: Listener, decision: object) -> None:
    if isinstance(decision, Completed):
        listener.completed(decision)
    elif isinstance(decision, Requeued):
        listener.requeued(decision)
    elif isinstance(decision, DeadLettered):
        listener.dead_lettered(decision)


def measure_half_done(folder: Path) -> dict[str, float]:
    """Seconds from the start of the command to the first clip handed out."""

    def engine(job: Job, items: Items, listener: Listener) -> bool:
        next(iter(items))
        raise FirstDispatchError

    started = time.perf_counter()
    try:
        generate(make_job(folder, "out"), Console(file=io.StringIO()), engine=engine)
    except FirstDispatchError:
        return {"seconds": time.perf_counter() - started}
    raise SystemExit("half done: got no clip to make, expected half of them")


def measure_finished(folder: Path) -> dict[str, float]:
    """Seconds of a command that finds everything done."""

    def engine(job: Job, items: Items, listener: Listener) -> bool:
        raise SystemExit("finished: got a clip to make, expected none")

    started = time.perf_counter()
    found = generate(make_job(folder, "out"), Console(file=io.StringIO()), engine=engine)
    if found.state != "complete":
        raise SystemExit(f"finished: got {found.counts}, expected every row done")
    return {"seconds": time.perf_counter() - started}


def build_half(folder: Path) -> dict[str, float]:
    return build(folder, 0)


def build_rest(folder: Path) -> dict[str, float]:
    return build(folder, 1)


def build(folder: Path, half: int) -> dict[str, float]:
    """Commit the first or the second half of the rows."""
    started = time.perf_counter()
    job = make_job(folder, "out")
    assert isinstance(job.storage, LocalStorage)
    rows = (row for row in job.rows({}) if isinstance(row, PlannedClip))
    middle = job.report.num_clips // 2
    chosen = islice(rows, middle, None) if half else islice(rows, middle)
    add_clips(job.storage, chosen, epoch=half + 1)
    return {"seconds": time.perf_counter() - started}


STEPS: dict[str, Callable[[Path], dict[str, float]]] = {
    "throughput": measure_throughput,
    "build half": build_half,
    "half done": measure_half_done,
    "build rest": build_rest,
    "finish": measure_finished,
    "finished": measure_finished,
}
LIMITED = ("half done", "finished")


def step(folder: Path, name: str) -> dict[str, float]:
    """Run a step in a process of its own; adds the most memory that it held."""
    command = [sys.executable, __file__, "--step", name, "--folder", str(folder)]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(ended.stdout.splitlines()[-1])


def run_step(folder: Path, name: str) -> None:
    found = STEPS[name](folder)
    found["peak_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps(found))


def verdict(name: str, found: dict[str, float]) -> tuple[str, bool]:
    """A line of the report, and whether the limits are kept."""
    seconds, gib = found["seconds"], found["peak_bytes"] / GIB
    line = f"{name:<12} {seconds:8.1f} s {gib:6.2f} GiB"
    if name in LIMITED:
        line += f"   limit {MAX_SECONDS:.0f} s, {MAX_BYTES / GIB} GiB"
        return line, seconds <= MAX_SECONDS and found["peak_bytes"] <= MAX_BYTES
    if "items_per_s" in found:
        rate = found["items_per_s"]
        line += f"   {rate:,.0f} items/s, limit {MIN_ITEMS_PER_S:,.0f}"
        return line, rate >= MIN_ITEMS_PER_S
    return line, True


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where to build; a temporary one otherwise")
    parser.add_argument("--json", action="store_true", help="print all numbers as JSON at the end")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        run_step(options.folder, options.step)
        return 0
    with tempfile.TemporaryDirectory(prefix="videogen-bench-", dir=options.folder) as name:
        folder = Path(name)
        write_manifest(folder, options.rows)
        print(f"{options.rows:,} rows", flush=True)
        results: dict[str, dict[str, float]] = {}
        kept = True
        for title in STEPS:
            results[title] = step(folder, title)
            line, is_kept = verdict(title, results[title])
            kept &= is_kept
            print(line if is_kept else f"{line}   EXCEEDED", flush=True)
    if options.json:
        print(json.dumps(results))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
