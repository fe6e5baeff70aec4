"""`EvaluationJob`: what is to be scored, how, and where scores go; checked before any work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from videogen.evaluation import Evaluator
from videogen.storage import Storage, open_storage
from videogen_pipelines.config import GangSection, RunConfig, load_run_config, override
from videogen_pipelines.evaluation.settings import EvaluateSettings, fingerprint
from videogen_pipelines.evaluation.sources import RunSource, Source, SourceClip, open_source
from videogen_pipelines.evaluation.store import ScoreStore
from videogen_pipelines.evaluation.workload import ScoringTask
from videogen_pipelines.run_record import read_run_record


@dataclass(frozen=True)
class EvaluationJob:
    """One run of `evaluate`. Making it loads what the metrics need, so mistakes show at once."""

    config: RunConfig
    source: Source
    out: Storage
    settings: EvaluateSettings
    evaluator: Evaluator
    reference: EvaluationJob | None = None
    """What the clips are compared with as a set: only what that takes is measured there."""

    @classmethod
    def check(
        cls,
        address: str,
        out: str | None = None,
        config: str | None = None,
        overrides: Sequence[str] = (),
        reference: str | None = None,
    ) -> EvaluationJob:
        """Find the clips and check the configuration; nothing is written.

        Args:
            address: a run's output, or a folder of videos.
            out: where `metrics/` goes; None is beside the clips.
            config: a YAML file; None is what the run was made with, if it is a run.
            reference: a run or folder that the clips are compared with, as a set and, where ids are
                the same, in pairs.

        Raises:
            ConfigError: the configuration is wrong.
            WeightsError: a weights folder is incomplete.
            StorageError: there is nothing to score, or a storage cannot be read.
        """
        storage = open_storage(address)
        source = open_source(storage)
        settings = load_run_config(config, [*_recorded(source, config), *overrides])
        target = storage if out is None else open_storage(out)
        job = cls.of(settings, source, target)
        return job if reference is None else job.against(reference)

    def against(self, address: str) -> EvaluationJob:
        """The same with a reference, whose measurements go beside those of the clips.

        Raises:
            StorageError: there is no clip, or the storage cannot be read.
        """
        settings = replace(self.settings, metrics=(), weights={})
        source = open_source(open_storage(address))
        other = EvaluationJob(self.config, source, self.out, settings, settings.evaluator())
        return replace(self, reference=other)

    @classmethod
    def of(cls, config: RunConfig, source: Source, out: Storage) -> EvaluationJob:
        """From a configuration that is read already."""
        settings = EvaluateSettings.of(config.evaluate)
        return cls(_on_cpu(config), source, out, settings, settings.evaluator())

    @cached_property
    def store(self) -> ScoreStore:
        """Where the scores of this measure are."""
        return ScoreStore(self.out, fingerprint(self.evaluator))

    @cached_property
    def grid(self) -> dict[str, list[Any]]:
        """The grid of a run that is a sweep; {} of anything else."""
        if not isinstance(self.source, RunSource):
            return {}
        inputs = read_run_record(self.source.storage).inputs or {}
        return dict(inputs.get("grid", {}))

    def task(self) -> ScoringTask:
        """What every rank needs to know."""
        return ScoringTask(self.source.storage.uri, self.out.uri, self.settings)

    def unscored(self) -> list[str]:
        """The ids of what is still to be scored, sorted."""
        scored = self.store.listed()
        clips = self.source.clips()
        return [clip.id for clip in clips if (clip.id, clip.version) not in scored]

    def items(self, ids: Iterable[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """What ranks get for these clips, in that order."""
        for clip in self.source.clips(ids):
            yield clip.id, payload_of(clip)


def payload_of(clip: SourceClip) -> dict[str, Any]:
    """The item that a rank gets."""
    return {
        "key": clip.key,
        "version": clip.version,
        "prompt": clip.prompt,
        "boundaries": [] if clip.sidecar is None else list(clip.sidecar.chunk_starts),
    }


def _recorded(source: Source, config: str | None) -> list[str]:
    """How the run was to be scored, unless a file says it."""
    if config is not None or not isinstance(source, RunSource):
        return []
    recorded = read_run_record(source.storage).config.get("evaluate")
    return [] if recorded is None else [override("evaluate", recorded)]


def _on_cpu(config: RunConfig) -> RunConfig:
    """Scoring needs single ranks and no GPU, however clips were made."""
    model = config.model.model_copy(update={"device": "cpu"})
    cluster = config.cluster.model_copy(update={"gang": GangSection()})
    return config.model_copy(update={"model": model, "cluster": cluster})
