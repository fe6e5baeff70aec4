"""What a rank does with one request: denoise, decode into the encoder, verify, commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videogen.errors import EncodeError, MediaError, WeightsError
from videogen.extension.plan import plan_clip
from videogen.models.variant import AS_IT_IS, AT_HOME, Residence, Variant
from videogen.requests import ClipRequest
from videogen.storage import open_storage
from videogen_cluster.workload import Heartbeat, RankContext
from videogen_pipelines.clip_encoder import ClipEncoder
from videogen_pipelines.clip_gang import ALONE, ClipGang, Sharing
from videogen_pipelines.clip_progress import ClipProgress
from videogen_pipelines.clip_sink import ChunkedClip, ClipSink, WholeClip
from videogen_pipelines.clip_start import read_start
from videogen_pipelines.commit import CommitResult, adopt_clip, commit_clip, store_attempt
from videogen_pipelines.evaluation.boundaries import chunk_starts
from videogen_pipelines.evaluation.tries import ClipOutput, Made, Tries, refuse_rejected
from videogen_pipelines.events import gang_name
from videogen_pipelines.keep_alive import AT_MOST_S, keep_alive
from videogen_pipelines.model_cache import local_model
from videogen_pipelines.partials import PartialClip, encoding_recipe, remove_partials
from videogen_pipelines.scratch import scratch_folder
from videogen_pipelines.sidecar import Chunks, ModelStamp, Provenance, Timings, current_versions

if TYPE_CHECKING:
    import numpy as np

    from videogen.extension.state import StreamState
    from videogen.generator import VideoGenerator
    from videogen_pipelines.evaluation.gate import Gate
    from videogen_pipelines.evaluation.recorder import ScoreRecorder
    from videogen_pipelines.evaluation.settings import EvaluateSettings

MAX_TILINGS = 4
"""How often running out of memory may double the tiles of a picture."""
SECONDS_PER_FRAME = 0.1
"""What a frame of a long clip is allowed to take, read back before it is committed."""


@dataclass(frozen=True)
class ClipSettings:
    """What is the same for all clips of a run.

    `model` is a name or an absolute folder, `stamp` what the coordinator found there, and `device`
    "auto" for whatever the rank was given. `evaluate` says how clips are scored while they are
    made, None that they are not; `gate` which are made again.
    """

    model: str
    stamp: ModelStamp
    sampler_version: str
    out_uri: str
    device: str = "auto"
    dtype: str = "auto"
    attention: str | None = None
    decoder: str | None = None
    cpu_offload: bool = False
    vae_tiling: bool = False
    variant: Variant = AS_IT_IS
    residence: Residence = AT_HOME
    codec: str = "h264"
    crf: int | None = None
    single_committer: bool = False
    sharing: Sharing = ALONE
    evaluate: EvaluateSettings | None = None
    gate: Gate | None = None


class GenerateWorkload:
    """Makes clips; items hold `request` (a `ClipRequest` as JSON types) and `clip_id`."""

    def __init__(self, settings: ClipSettings) -> None:
        self.settings = settings

    def setup(self, context: RankContext) -> None:
        """Load the model and open the output.

        Raises:
            WeightsError: the model here is not the one that the coordinator planned with.
        """
        import torch

        from videogen.loading import load_generator

        self._context = context
        torch.set_num_threads(context.num_threads)
        chosen = self.settings
        self._generator: VideoGenerator = load_generator(
            local_model(chosen.model),
            context.device if chosen.device == "auto" else chosen.device,
            chosen.dtype,
            chosen.attention,
            dit_device=chosen.sharing.dit_device,
            decoder=chosen.decoder,
            cpu_offload=chosen.cpu_offload,
            vae_tiling=chosen.vae_tiling,
            variant=chosen.variant,
            residence=chosen.residence,
        )
        self._check_digest(self._generator.digest)
        self._versions = _versions(self._generator)
        self._gang = ClipGang.join(context, self._generator, chosen.sharing)
        self._generator.warm_up()
        self._storage = open_storage(chosen.out_uri)
        self._scratch = scratch_folder(self._storage)
        self._scores: ScoreRecorder | None = None
        if chosen.evaluate is not None and self._gang.leads:
            from videogen_pipelines.evaluation.recorder import ScoreRecorder

            self._scores = ScoreRecorder(chosen.evaluate, self._storage)

    def compute(
        self, item: Mapping[str, Any], heartbeat: Heartbeat
    ) -> Callable[[], dict[str, Any]]:
        """Denoise and decode one clip; the returned rest encodes its end, verifies and commits.

        All ranks of a gang do so together; the rest is the first one's alone.
        """
        if item["degrade"]:
            _free_device_memory()
        request = ClipRequest.model_validate(item["request"])
        provenance = Provenance(
            request=request,
            clip_id=item["clip_id"],
            model=self.settings.stamp,
            sampler_version=self.settings.sampler_version,
            attempts=item["attempt"],
            device=self._generator.device.type,
            gang=gang_name(self._context.gang),
            chunk_starts=chunk_starts(self._generator.spec, request),
            versions=self._versions,
            warnings=tuple(self._generator.warnings(request)),
        )
        made, is_made = self._look_for(provenance, item, heartbeat)
        if is_made:
            return made.outcome if made else _nothing
        self._gang.adapt(self._generator, item["degrade"])
        tries = Tries(
            self.settings.gate,
            request,
            self._gang.agree,
            lambda: keep_alive(lambda: heartbeat("score", 0, 1)),
        )
        for number, chosen in tries:
            try:
                made = self._make(number, chosen, provenance, item, heartbeat)
            except BaseException:
                tries.drop()
                raise
            tries.add(number, made)
        kept = tries.kept()
        return _nothing if kept is None else lambda: self._finish(kept, heartbeat)

    def _make(
        self,
        number: int,
        request: ClipRequest,
        provenance: Provenance,
        item: Mapping[str, Any],
        heartbeat: Heartbeat,
    ) -> Made | None:
        """Try `number` at a clip: `request` has its seed. None on ranks that only help."""
        plan = plan_clip(self._generator.spec, request)
        partial = self._partial(provenance, number) if plan.num_chunks() > 1 else None
        vae = self._generator.spec.vae
        reads = partial is not None or request.image is not None or request.video is not None
        with keep_alive(lambda: heartbeat("start", 0, 1)) if reads else nullcontext():
            state = self._resume(partial, request) if partial else None
            start = read_start(request, plan, vae.time_factor) if state is None else None
        progress = ClipProgress(heartbeat, request.num_frames, plan, vae, state)
        sink = output = None
        if self._gang.leads:
            path = self._scratch / f"{request.id}.{item['attempt']}.{number}.mp4"
            sink = self._sink(path, provenance, partial, state, progress)
            output = ClipOutput(sink, self._scores.start(provenance) if self._scores else None)
        try:
            timings = self._stream(request, state, start, item["degrade"], sink, output, progress)
            parallel = self._gang.traffic()
        except BaseException:
            if output is not None:
                output.abort()
            raise
        if sink is None or output is None:
            return None
        resumed = 0 if state is None else state.num_chunks
        chunks = Chunks(method=plan.method, count=sink.num_chunks, resumed=resumed)
        provenance = replace(
            provenance,
            timings=timings,
            gpu_s=(timings.denoise_s + timings.decode_s) * self._context.world_size,
            parallel=parallel,
            chunks=chunks if partial else None,
        )
        return Made(request, output, sink.path, provenance)

    def _look_for(
        self, provenance: Provenance, item: Mapping[str, Any], heartbeat: Heartbeat
    ) -> tuple[CommitResult | None, bool]:
        """The clip, on the first rank, and on all whether there is one: then none is made again."""
        if not item.get("repeat"):
            return None, self._gang.begin(item, is_done=False)
        # The first rank waits for the store, and the others for the first.
        with keep_alive(lambda: heartbeat("start", 0, 1)):
            made = self._made_before(provenance) if self._gang.leads else None
            return made, self._gang.begin(item, is_done=made is not None)

    def _made_before(self, provenance: Provenance) -> CommitResult | None:
        """The clip, if the gang that was lost had stored it and could not say so."""
        if self.settings.single_committer:
            return None  # only the coordinator may commit what is stored
        return adopt_clip(self._storage, provenance)

    def _partial(self, provenance: Provenance, number: int) -> PartialClip:
        recipe = encoding_recipe(self.settings.codec, self.settings.crf, number)
        return PartialClip(self._storage, provenance.request.id, provenance.clip_id, recipe)

    def _resume(self, partial: PartialClip, request: ClipRequest) -> StreamState | None:
        """What all ranks go on from; None starts at the beginning."""
        from videogen.extension.state import StreamState, fingerprint

        clip = fingerprint(self._generator.spec, request)
        found = partial.last_state(clip) if self._gang.leads else None
        num_chunks = self._gang.agree_on(found.num_chunks if found else 0)
        if num_chunks == 0 or found is not None:
            return found
        return StreamState.from_bytes(partial.read_state(num_chunks))

    def _sink(
        self,
        path: Path,
        provenance: Provenance,
        partial: PartialClip | None,
        state: StreamState | None,
        progress: ClipProgress,
    ) -> ClipSink:
        request, metadata = provenance.request, provenance.container_metadata()

        def open_encoder(path: Path, metadata: dict[str, str]) -> ClipEncoder:
            codec, crf = self.settings.codec, self.settings.crf
            return ClipEncoder(path, request, codec, crf, metadata, progress.encoded)

        if partial is None:
            return WholeClip(path, open_encoder, metadata)
        num_chunks = 0 if state is None else state.num_chunks
        return ChunkedClip(
            path, open_encoder, metadata, request.fps, partial, num_chunks, progress.storing
        )

    def _stream(
        self,
        request: ClipRequest,
        state: StreamState | None,
        start: np.ndarray | None,
        degrade: int,
        sink: ClipSink | None,
        output: ClipOutput | None,
        progress: ClipProgress,
    ) -> Timings:
        """Make chunk after chunk; ranks without a sink only take their part.

        Returns:
            What that took, but for encoding.
        """
        generator, num_tiles = self._generator, 2 ** min(degrade, MAX_TILINGS)
        cache = {} if state is None else generator.decoder_cache(state, num_tiles)
        chunks = generator.stream(request, state, progress.denoised, start)
        denoise_s = decode_s = 0.0
        while True:
            started = time.perf_counter()
            chunk = next(chunks, None)
            denoised = time.perf_counter()
            denoise_s += denoised - started
            if chunk is None:
                return Timings(denoise_s=denoise_s, decode_s=decode_s)
            if sink is not None:
                sink.begin()
            for frames in generator.decode_chunk(chunk, cache, num_tiles):
                if output is not None:
                    output.put(frames)
                progress.decoded(len(frames))
            decode_s += time.perf_counter() - denoised
            if sink is not None:
                sink.end(chunk)
            if not chunk.is_last:
                progress.ended(chunk)

    def _finish(self, made: Made, heartbeat: Heartbeat) -> dict[str, Any]:
        try:
            is_joined = made.provenance.chunks is not None
            at_most_s = AT_MOST_S + SECONDS_PER_FRAME * made.request.num_frames
            joining = keep_alive(lambda: heartbeat("join", 0, 1), at_most_s=at_most_s)
            with joining if is_joined else nullcontext():
                encode_s = made.output.close()
            timings = made.provenance.timings.model_copy(update={"encode_s": encode_s})
            publish = store_attempt if self.settings.single_committer else commit_clip
            with keep_alive(lambda: heartbeat("commit", 0, 1), at_most_s=at_most_s):
                refuse_rejected(self._storage, self.settings.gate, made.provenance)
                provenance = replace(made.provenance, timings=timings)
                result = publish(self._storage, made.path, provenance)
                if is_joined:
                    remove_partials(self._storage, provenance.request.id)
                if self._scores is not None:
                    self._scores.record(result, made)
                return result.outcome()
        except BaseException as error:
            made.output.abort()
            is_damaged = isinstance(error, MediaError) and not isinstance(error, EncodeError)
            if is_damaged and made.provenance.chunks is not None:
                remove_partials(self._storage, made.request.id)  # the next attempt starts anew
            raise
        finally:
            made.path.unlink(missing_ok=True)

    def _check_digest(self, found: str) -> None:
        expected = self.settings.stamp.digest
        if found != expected:
            raise WeightsError(
                f"model '{self.settings.model}': got digest {found[:12]} on this node, expected "
                f"{expected[:12]} as on the coordinator's. Fix: install the same model everywhere."
            )


def _nothing() -> dict[str, Any]:
    """What is left to do on ranks that only helped."""
    return {}


def _versions(generator: VideoGenerator) -> dict[str, str]:
    """The versions that decide the pixels."""
    from videogen.foreign.generator import ForeignGenerator

    own = generator.versions if isinstance(generator, ForeignGenerator) else {}
    return {**current_versions(), **own}


def _free_device_memory() -> None:
    """Give back what earlier clips left reserved, so that fragments do not fail the next try."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
