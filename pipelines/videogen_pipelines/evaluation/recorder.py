"""Scores clips on the rank that makes them, and stores what they scored beside them."""

from __future__ import annotations

from videogen.storage import Storage
from videogen_pipelines.commit import CommitResult
from videogen_pipelines.evaluation.frame_scorer import FrameScorer
from videogen_pipelines.evaluation.score import ClipScore, curves_json
from videogen_pipelines.evaluation.settings import EvaluateSettings, fingerprint
from videogen_pipelines.evaluation.sources import VERSION_DIGITS
from videogen_pipelines.evaluation.store import ScoreStore
from videogen_pipelines.evaluation.tries import Made
from videogen_pipelines.sidecar import Provenance


class ScoreRecorder:
    """For all clips of a rank; a later `evaluate` finds what it stored."""

    def __init__(self, settings: EvaluateSettings, storage: Storage) -> None:
        import cv2

        cv2.setNumThreads(1)  # the cores are the model's
        self._evaluator = settings.evaluator()
        self._store = ScoreStore(storage, fingerprint(self._evaluator))

    def start(self, provenance: Provenance) -> FrameScorer:
        """Begin a clip."""
        request = provenance.request
        return FrameScorer(self._evaluator, request.fps, request.prompt, provenance.chunk_starts)

    def record(self, result: CommitResult, made: Made) -> bool:
        """Store what a clip scored, if it was this one that was committed. Waits for the metrics.

        Raises:
            StorageError: the storage failed.
        """
        metrics, sidecar = made.metrics(), result.sidecar
        if metrics is None or result.status not in ("created", "stored"):
            return False  # another's file is there, which may be of another try
        score = ClipScore.of(
            metrics,
            id=sidecar.id,
            key=sidecar.key,
            version=sidecar.sha256[:VERSION_DIGITS],
            fingerprint=self._store.fingerprint,
            measured_on="frames" if made.is_seen else "file",
            prompt=sidecar.request.prompt,
            boundaries=sidecar.chunk_starts,
            elapsed_s=round(made.output.score_s, 4),
        )
        return self._store.write(score, curves_json(score.id, score.fps, metrics.curves()))
