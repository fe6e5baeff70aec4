"""Seven kinds of pipelines of diffusers, tiny and random, through the real program.

    python scripts/try_pipelines.py [--kind LTX …] [--keep FOLDER]

For each: writes the pipeline and a manifest of three rows, starts `videogen generate --evaluate`,
kills the coordinator with SIGKILL as soon as a clip is committed, runs the same command again, and
runs `videogen verify`. Prints a row of a Markdown table for each, and ends with 1 if a clip is
missing, was made again, or is not scored.
"""

from __future__ import annotations

import argparse
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

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.tiny_foreign import KINDS, ROW

STEPS = (4, 120, 120)
"""The first clip is soon there; the others are still to be made when the run is killed."""
TIMEOUT_S = 240.0
HEADER = (
    "| pipeline | class | clips | committed when killed | exit, again | seconds | "
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
            {"id": f"row-{i}", "prompt": prompt, "num_inference_steps": steps, **ROW[kind]}
            for i, (prompt, steps) in enumerate(
                zip(("a red circle", "a blue square", "a circle moving right"), STEPS, strict=True)
            )
        ]
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return cls(kind, folder, KINDS[kind](folder / "pipeline"))

    def start(self) -> subprocess.Popen[bytes]:
        command = ["generate", "rows.jsonl", "--model", self.model, "--out", "out"]
        return self._program(*command, "--gangs", "1", "--evaluate", "--json")

    def verify(self) -> int:
        return self._program("verify", "out").wait(TIMEOUT_S)

    def sidecars(self) -> dict[str, int]:
        """Id -> when its clip was committed, in nanoseconds."""
        paths = (self.folder / "out" / "meta").rglob("*.json")
        return {path.stem: path.stat().st_mtime_ns for path in paths}

    def _program(self, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{arguments[0]}.log").open("ab")
        return subprocess.Popen(
            [sys.executable, "-m", "videogen_pipelines", *arguments],
            cwd=self.folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def killed(run: Run) -> dict[str, int]:
    """Start, kill after the first commit, and return what is committed once nobody is left."""
    program = run.start()
    deadline = time.monotonic() + TIMEOUT_S
    while not run.sidecars() and program.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if program.poll() is None:
        os.kill(program.pid, signal.SIGKILL)
    program.wait()
    time.sleep(3.0)  # ranks die with their raylet
    return run.sidecars()


def try_kind(kind: str, root: Path) -> tuple[str, bool]:
    """A row of the table, and whether all is as it should be."""
    run = Run.prepare(kind, root)
    before = killed(run)
    started = time.monotonic()
    code = run.start().wait(TIMEOUT_S)
    seconds = time.monotonic() - started
    after = run.sidecars()
    again = sum(after.get(name) != at for name, at in before.items())
    sidecar = json.loads(next((run.folder / "out/meta").rglob("row-1.json")).read_text())
    scores = run.folder / "out/metrics/clips.parquet"
    scored = pq.read_table(scores).num_rows if scores.is_file() else 0
    verified = run.verify()
    request = sidecar["request"]
    clip = f"{len(after)} of {sidecar['frames']} × {request['width']}×{request['height']}"
    name = " + ".join(
        json.loads((Path(part) / "model_index.json").read_text())["_class_name"]
        for part in run.model.removeprefix("diffusers:").split("+")
    )
    cells = [kind, f"`{name}`", clip, f"{len(before)} of 3", code, f"{seconds:.0f}", again, scored]
    is_good = (len(after), code, again, scored, verified) == (3, 0, 0, 3, 0)
    return f"| {' | '.join(map(str, [*cells, verified]))} |", is_good and 0 < len(before) < 3


def main() -> int:
    parser = argparse.ArgumentParser(description="Tiny pipelines through the real program.")
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    parser.add_argument("--keep", type=Path, help="leave everything in this folder")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pipelines") as temporary:
        root = chosen.keep or Path(temporary)
        print(HEADER)
        good = []
        for kind in chosen.kind or list(KINDS):
            row, is_good = try_kind(kind, root)
            good.append(is_good)
            print(row, flush=True)
    return 0 if all(good) else 1


if __name__ == "__main__":
    raise SystemExit(main())
