"""Seven kinds of pipelines of diffusers, tiny and random, through the real program.

    python scripts/try_pipelines.py [--kind LTX …] [--keep FOLDER] [--here]

For each: writes the pipeline and a manifest of three rows, starts `videogen generate --evaluate`,
kills the coordinator with SIGKILL as soon as a clip is committed, runs the same command again, and
runs `videogen verify`. With `--here`, all of that happens in this process, without Ray, and the
first run is stopped after a clip; it takes seconds. Prints a row of a Markdown table for each, and
ends with 1 if a clip is missing, was made again, or is not scored.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.tiny_foreign import KINDS, ROW
from videogen.storage import open_storage
from videogen_cluster.listener import Listener
from videogen_cluster.scheduler import Completed
from videogen_cluster.workload import RankContext
from videogen_pipelines.clip_workload import GenerateWorkload
from videogen_pipelines.config import load_run_config
from videogen_pipelines.engine import Items
from videogen_pipelines.generate import generate
from videogen_pipelines.inputs import ManifestInputs
from videogen_pipelines.job import Job, LoadedModel
from videogen_pipelines.verification.verifier import verify_run

STEPS = (4, 120, 120)
"""The first clip is soon there; the others are still to be made when the run is killed."""
PROMPTS = ("a red circle", "a blue square", "a circle moving right")
TIMEOUT_S = 240.0
HEADER = (
    "| pipeline | class | clips, frames | committed when stopped | exit, again | seconds | "
    "made again | scored | verify |\n|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Run:
    """One pipeline with a manifest, and where its clips go."""

    kind: str
    folder: Path
    model: str

    @classmethod
    def prepare(cls, kind: str, root: Path) -> Run:
        folder = root / kind.replace(" ", "-").lower()
        folder.mkdir(parents=True)
        rows = [
            {"id": f"row-{i}", "prompt": PROMPTS[i], "num_inference_steps": STEPS[i], **ROW[kind]}
            for i in range(3)
        ]
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return cls(kind, folder, KINDS[kind](folder / "pipeline"))

    def stop(self) -> None:
        """Run the program until a clip is committed, and kill it."""
        program = self._generate()
        deadline = time.monotonic() + TIMEOUT_S
        while not self.sidecars() and program.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if program.poll() is None:
            os.kill(program.pid, signal.SIGKILL)
        program.wait()
        time.sleep(3.0)  # ranks die with their raylet

    def go_on(self) -> int:
        """Run the program to its end; returns its exit code."""
        return self._generate().wait(TIMEOUT_S)

    def verify(self) -> int:
        return self._program("verify", "out").wait(TIMEOUT_S)

    def sidecars(self) -> dict[str, int]:
        """Id -> when its clip was committed, in nanoseconds."""
        paths = (self.folder / "out" / "meta").rglob("*.json")
        return {path.stem: path.stat().st_mtime_ns for path in paths}

    def _generate(self) -> subprocess.Popen[bytes]:
        command = ("generate", "rows.jsonl", "--model", self.model, "--out", "out")
        return self._program(*command, "--gangs", "1", "--evaluate", "--json")

    def _program(self, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{arguments[0]}.log").open("ab")
        return subprocess.Popen(
            [sys.executable, "-m", "videogen_pipelines", *arguments],
            cwd=self.folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


@dataclass(frozen=True)
class RunHere(Run):
    """The same without Ray: clips are made one by one in this process."""

    def stop(self) -> None:
        self._run(stop_after=1)

    def go_on(self) -> int:
        return self._run()

    def verify(self) -> int:
        return 0 if verify_run(open_storage(str(self.folder / "out"))).proven else 1

    def _run(self, stop_after: int | None = None) -> int:
        def engine(job: Job, items: Items, listener: Listener) -> bool:
            workload = GenerateWorkload(job.settings())
            workload.setup(RankContext(0, 0, 1, "cpu", 1))
            for count, (name, payload) in enumerate(items):
                if count == stop_after:
                    return True
                item = {**payload, "id": name, "attempt": 1, "degrade": 0}
                finish = workload.compute(item, lambda *_: None)
                listener.completed(Completed(name, 1, finish()))
            return False

        config = load_run_config(None, [f"model.name={self.model}", "evaluate.during=true"])
        model = LoadedModel.read(self.model)
        rows = str(self.folder / "rows.jsonl")
        inputs = ManifestInputs(rows, model.defaults(config), model.check)
        job = Job.check(config, model, inputs, str(self.folder / "out"))
        outcome = generate(job, Console(file=io.StringIO()), engine=engine)
        return {"complete": 0, "some_failed": 1, "interrupted": 130}[outcome.state]


def try_kind(run: Run) -> tuple[str, bool]:
    """A row of the table, and whether all is as it should be."""
    run.stop()
    before = run.sidecars()
    started = time.monotonic()
    code = run.go_on()
    seconds = time.monotonic() - started
    after = run.sidecars()
    again = sum(after.get(name) != at for name, at in before.items())
    sidecar = json.loads(next((run.folder / "out/meta").rglob("row-1.json")).read_text())
    scores = run.folder / "out/metrics/clips.parquet"
    scored = pq.read_table(scores).num_rows if scores.is_file() else 0
    verified = run.verify()
    request = sidecar["request"]
    size = f"{request['width']}×{request['height']}"
    clip = f"{len(after)}, {sidecar['frames']} × {size}"
    name = " + ".join(
        json.loads((Path(part) / "model_index.json").read_text())["_class_name"]
        for part in run.model.removeprefix("diffusers:").split("+")
    )
    stopped = f"{len(before)} of 3"
    cells = [run.kind, f"`{name}`", clip, stopped, code, f"{seconds:.1f}", again, scored, verified]
    is_good = (len(after), code, again, scored, verified) == (3, 0, 0, 3, 0)
    return f"| {' | '.join(map(str, cells))} |", is_good and 0 < len(before) < 3


def main() -> int:
    parser = argparse.ArgumentParser(description="Tiny pipelines through the real program.")
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    parser.add_argument("--keep", type=Path, help="leave everything in this folder")
    parser.add_argument("--here", action="store_true", help="without Ray, in this process")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pipelines") as temporary:
        root = chosen.keep or Path(temporary)
        print(HEADER)
        good = []
        for kind in chosen.kind or list(KINDS):
            row, is_good = try_kind((RunHere if chosen.here else Run).prepare(kind, root))
            good.append(is_good)
            print(row, flush=True)
    return 0 if all(good) else 1


if __name__ == "__main__":
    raise SystemExit(main())
