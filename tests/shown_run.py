"""A small run that is ready to be shown: clips that move, failures, scores."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from videogen.clip_ids import clip_id
from videogen.defaults import SAMPLER_VERSION
from videogen.media import write_video
from videogen.requests import ClipRequest
from videogen.storage import LocalStorage
from videogen_cluster.listener import Listener
from videogen_cluster.scheduler import Completed
from videogen_cluster.workload import RankContext
from videogen_pipelines.commit import commit_clip
from videogen_pipelines.config import override
from videogen_pipelines.engine import Items
from videogen_pipelines.evaluation.evaluate import evaluate
from videogen_pipelines.evaluation.job import EvaluationJob
from videogen_pipelines.evaluation.workload import EvaluateWorkload
from videogen_pipelines.results import ResultRow
from videogen_pipelines.run_directory import RunDirectory
from videogen_pipelines.run_record import RunRecord
from videogen_pipelines.sidecar import ModelStamp, Provenance, Timings

MODEL = ModelStamp(name="tiny", digest="d" * 64)
COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 80, 230)}
HOSTILE = (
    "<img src=x onerror=\"window.hurt=1\"></script><script>window.hurt=1</script> 'quoted' & co"
)
LARGE_SEED = 7731563723732703468  # more than a page's numbers hold


def clip_request(name: str, prompt: str, **fields: Any) -> ClipRequest:
    settings: dict[str, Any] = {
        "seed": LARGE_SEED,
        "num_frames": 17,
        "height": 64,
        "width": 64,
        "fps": 12.0,
        "num_inference_steps": 4,
        "guidance_scale": 3.0,
        "sampler": "euler",
    }
    return ClipRequest(id=name, prompt=prompt, **{**settings, **fields})


def demo_requests() -> list[ClipRequest]:
    """Three colours at two guidance scales, and one whose texts try to do harm."""
    found = [
        clip_request(f"{colour}-{scale:g}", f"a {colour} square moving right", guidance_scale=scale)
        for colour in COLOURS
        for scale in (1.0, 5.0)
    ]
    return [*found, clip_request("hostile", HOSTILE, metadata={"__proto__": {"a": "</script>"}})]


def moving_square(request: ClipRequest, shift: int = 2) -> np.ndarray:
    """Frames of `request`, uint8 `t h w c`: a square of the colour its id begins with."""
    frames = np.full((request.num_frames, request.height, request.width, 3), 30, np.uint8)
    frames[..., 2] += np.arange(request.height, dtype=np.uint8)[:, None]
    colour = COLOURS.get(request.id.split("-")[0], (240, 240, 90))
    for t, frame in enumerate(frames):
        left = 4 + shift * t
        frame[20:40, left : left + 20] = colour
    return frames


def make_run(
    folder: Path, requests: list[ClipRequest], failed: dict[str, str] | None = None, shift: int = 2
) -> LocalStorage:
    """Commit a clip for each request except the failed ones.

    Args:
        failed: id -> reason, of requests that have no clip.
        shift: pixels that things move from frame to frame.
    """
    storage = LocalStorage(folder)
    failed = failed or {}
    record = RunRecord.of(
        {"schema": 1}, "prompts.jsonl", "m" * 64, "tiny", MODEL.digest, len(requests)
    )
    with RunDirectory(storage) as run:
        run.initialise(record)
        rows: list[ResultRow] = []
        for request in requests:
            provenance = _provenance(request)
            rows.append(ResultRow(request.id, provenance.clip_id, request))
            if request.id in failed:
                run.record_failure(request.id, "oom", failed[request.id], 3, provenance.clip_id)
                continue
            path = folder.parent / f"{request.id}.mp4"
            metadata = provenance.container_metadata()
            write_video(path, iter([moving_square(request, shift)]), request.fps, metadata=metadata)
            run.record_done(commit_clip(storage, path, provenance).outcome())
            path.unlink()
        run.finish(rows)
    return storage


def score(folder: Path, out: Path | None = None, metrics: list[str] | None = None) -> None:
    """Evaluate a run in this process; `metrics` None is the default set."""
    settings = [] if metrics is None else [override("evaluate.metrics", metrics)]
    job = EvaluationJob.check(str(folder), None if out is None else str(out), None, settings)
    evaluate(job, Console(file=io.StringIO()), engine=_score_here)


def handed_over(script: str) -> tuple[str, Any]:
    """What a data script of a report calls the page with: the name, and the data."""
    arguments = script.removeprefix("videogenData(").removesuffix(");\n")
    name, content = json.loads(f"[{arguments}]")
    return name, json.loads(content)


def _score_here(job: EvaluationJob, items: Items, listener: Listener, to_do: int) -> bool:
    workload = EvaluateWorkload(job.task())
    workload.setup(RankContext(0, 0, 1, "cpu", 1))
    for name, payload in items:
        record = workload.compute({**payload, "id": name}, lambda stage, step, total: None)()
        listener.completed(Completed(name, 1, record))
    return False


def _provenance(request: ClipRequest) -> Provenance:
    return Provenance(
        request=request,
        clip_id=clip_id(request, MODEL.digest, SAMPLER_VERSION),
        model=MODEL,
        sampler_version=SAMPLER_VERSION,
        timings=Timings(denoise_s=2.0 + request.guidance_scale, decode_s=0.5, encode_s=0.25),
        gpu_s=2.5,
        node="node-1",
        versions={"videogen": "0", "torch": "0"},
    )
