"""`Job`: one run of `generate`, checked before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from videogen.defaults import SAMPLER_VERSION, sampling_defaults
from videogen.errors import ConfigError
from videogen.extension.plan import plan_clip
from videogen.foreign.address import absolute, is_foreign
from videogen.models.protocol import MakesWholeClips
from videogen.models.published import AnySpec, is_published
from videogen.models.spec import resolve_model
from videogen.models.variant import AS_IT_IS, Variant, check_unaltered
from videogen.requests import ClipRequest, SamplingDefaults
from videogen.storage import Storage, is_remote, open_storage
from videogen_pipelines.clip_gang import Sharing
from videogen_pipelines.clip_workload import ClipSettings
from videogen_pipelines.config import ClusterSection, EvaluateSection, GangSection, RunConfig
from videogen_pipelines.evaluation.gate import Gate
from videogen_pipelines.evaluation.settings import EvaluateSettings
from videogen_pipelines.inputs import Inputs
from videogen_pipelines.manifest import InvalidRow, ManifestReport
from videogen_pipelines.model_cache import check_model_files, read_any_spec
from videogen_pipelines.plan import PlannedClip, Planner
from videogen_pipelines.row_index import RowIndex
from videogen_pipelines.run_record import RunRecord
from videogen_pipelines.sidecar import ModelStamp, Provenance

if TYPE_CHECKING:
    from videogen.foreign.spec import ForeignSpec


@dataclass(frozen=True)
class LoadedModel:
    """What the coordinator knows of a model: its description, never its weights.

    `name` finds it on every node: a preset's name, an absolute folder, an `s3://` address, or
    `diffusers:` and absolute folders.
    """

    name: str
    spec: AnySpec | ForeignSpec
    stamp: ModelStamp

    @classmethod
    def read(
        cls, name: str, decoder: str | None = None, variant: Variant = AS_IT_IS
    ) -> LoadedModel:
        """Find a model and read its description; of a published one, check all files as well.

        Args:
            decoder: see `read_model_spec`.
            variant: what the run makes of it; part of the digest.

        Raises:
            WeightsError: there is no such model, or it is not whole.
            ConfigError: its description is wrong.
            StorageError: it is in an object store that refuses or fails.
        """
        spec = read_any_spec(name, decoder)
        check_model_files(spec)
        stamp = ModelStamp(name=spec.name, digest=variant.digest(spec.digest))
        if is_foreign(name):
            check_unaltered(name, variant)
            return cls(absolute(name), spec, stamp)
        is_folder = not is_remote(name) and _is_folder(Path(name).expanduser(), name)
        return cls(str(Path(name).expanduser().resolve()) if is_folder else name, spec, stamp)

    def check(self, request: ClipRequest) -> None:
        """Raise unless the model can make a clip.

        Raises:
            InvalidRequestError: names the field, why, and the nearest legal values.
        """
        plan_clip(self.spec, request)

    def defaults(self, config: RunConfig) -> SamplingDefaults:
        """What a row that says nothing gets: package, then model, then configuration."""
        return sampling_defaults(self.spec.name, self.spec.sampling).merged(config.sampling)


def _is_folder(path: Path, name: str) -> bool:
    """Whether a name means the folder of that path."""
    return is_published(path) or resolve_model(name) == path


@dataclass(frozen=True)
class Job:
    """What to make, with what, and where to put it."""

    config: RunConfig
    model: LoadedModel
    inputs: Inputs
    report: ManifestReport
    storage: Storage
    index: RowIndex | None = None

    @classmethod
    def check(cls, config: RunConfig, model: LoadedModel, inputs: Inputs, out: str) -> Job:
        """Check all that can be checked without writing anything.

        Raises:
            InvalidRequestError: rows are bad and not to be skipped; names all of them.
            ConfigError: the cluster section asks for what cannot be.
            StorageError: `out` names no storage.
        """
        _check_cluster(config.cluster)
        _check_scoring(config.evaluate)
        storage = open_storage(out)
        return cls.checked(config, model, inputs, storage)

    @classmethod
    def checked(
        cls, config: RunConfig, model: LoadedModel, inputs: Inputs, storage: Storage
    ) -> Job:
        """Check the rows, and index them in the same pass; then settle gangs that suit the clips.

        Raises:
            InvalidRequestError: rows are bad and not to be skipped; names all of them.
            ConfigError: gangs have more ranks than the clips have work for.
        """
        index = RowIndex(model.stamp.digest, SAMPLER_VERSION)
        report = inputs.check(index.add_row)
        return cls(_settled(config, model.spec, index), model, inputs, report, storage, index)

    def record(self) -> RunRecord:
        """What `run.json` says of it."""
        return RunRecord.of(
            config=self.config.resolved(),
            manifest_uri=self.report.path,
            manifest_digest=self.report.digest,
            model_name=self.model.stamp.name,
            model_digest=self.model.stamp.digest,
            num_rows=self.report.num_rows,
            inputs={**self.inputs.recipe(), "model": self.model.name},
            sampler_version=SAMPLER_VERSION,
        )

    def rows(self, committed: Mapping[str, str]) -> Iterator[PlannedClip | InvalidRow]:
        """All rows in order, compared with what is committed."""
        planner = Planner(self.model.stamp.digest, SAMPLER_VERSION, committed)
        return planner.rows(self.inputs.requests(self.report))

    def row_index(self) -> RowIndex:
        """What all rows ask for."""
        if self.index is not None:
            return self.index
        index = RowIndex(self.model.stamp.digest, SAMPLER_VERSION)
        for row in self.rows({}):
            if isinstance(row, PlannedClip):
                index.add(row.request, row.clip_id)
            else:
                index.add_invalid()
        return index

    def provenance(self, clip: PlannedClip) -> Provenance:
        """How a clip of this job comes to be."""
        return Provenance(clip.request, clip.clip_id, self.model.stamp, SAMPLER_VERSION)

    def settings(self) -> ClipSettings:
        """What every rank needs to know."""
        return ClipSettings(
            model=self.model.name,
            stamp=self.model.stamp,
            sampler_version=SAMPLER_VERSION,
            out_uri=self.storage.uri,
            device=self.config.model.device,
            dtype=self.config.model.dtype,
            attention=self.config.model.attention,
            decoder=self.config.model.decoder,
            cpu_offload=self.config.model.cpu_offload,
            vae_tiling=self.config.model.vae_tiling,
            variant=self.config.model.variant,
            residence=self.config.model.residence,
            codec=self.config.output.codec,
            crf=self.config.output.crf,
            single_committer=not self.storage.conditional_writes,
            sharing=Sharing.of(self.config.cluster.gang),
            evaluate=self._scoring(),
            gate=Gate.of(self.config.evaluate),
        )

    def _scoring(self) -> EvaluateSettings | None:
        section = self.config.evaluate
        return EvaluateSettings.of(section) if section.scores_clips else None


def _settled(config: RunConfig, spec: AnySpec | ForeignSpec, index: RowIndex) -> RunConfig:
    """The configuration with what `auto` means for the gangs of these clips."""
    if config.cluster.gang == GangSection():
        return config
    from videogen_pipelines.gang_choice import settle_gang, single_gang  # needs torch

    is_whole = isinstance(spec, MakesWholeClips)
    gang = single_gang(config, spec) if is_whole else settle_gang(config, spec, index.shapes)
    cluster = config.cluster.model_copy(update={"gang": gang})
    return config.model_copy(update={"cluster": cluster})


def _check_scoring(section: EvaluateSection) -> None:
    """Make what would score clips, so that what is wrong with it shows before any work."""
    if section.scores_clips:
        Gate.of(section)
        EvaluateSettings.of(section).evaluator()


def _check_cluster(cluster: ClusterSection) -> None:
    if cluster.max_gang_deaths <= cluster.max_attempts:
        raise ConfigError(
            f"cluster.max_gang_deaths: got {cluster.max_gang_deaths}, expected more than "
            f"cluster.max_attempts ({cluster.max_attempts}), because one bad clip may cost that "
            "many gangs. Fix: raise cluster.max_gang_deaths."
        )
