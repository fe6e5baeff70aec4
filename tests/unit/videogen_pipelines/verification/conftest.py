"""A finished run of fake clips, and a manifest that a repair can read again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from videogen.storage import LocalStorage
from videogen_pipelines.commit import commit_clip
from videogen_pipelines.results import ResultRow
from videogen_pipelines.run_directory import RunDirectory
from videogen_pipelines.run_record import RunRecord

NAMES = tuple("abcde")
BAD = "bad"
RECORD = RunRecord.of({"schema": 1}, "prompts.jsonl", "m" * 64, "tiny", "d" * 64)

FinishedRun = Callable[..., LocalStorage]


@pytest.fixture
def finished_run(storage: LocalStorage, clips: Any) -> FinishedRun:
    def make(finish: bool = True, skip: tuple[str, ...] = (), **fields: Any) -> LocalStorage:
        with RunDirectory(storage) as run:
            run.initialise(RECORD)
            for name in NAMES:
                if name not in skip:
                    provenance = clips.provenance(name, **fields)
                    path = clips.file(provenance)
                    result = commit_clip(storage, path, provenance, clips.inspect)
                    run.record_done(result.outcome())
            run.record_failure(BAD, "non_finite", "NaN in the latents", 2)
            if finish:
                plans = {name: clips.provenance(name, **fields) for name in (*NAMES, BAD)}
                run.finish(ResultRow(n, p.clip_id, p.request) for n, p in plans.items())
        return storage

    return make
