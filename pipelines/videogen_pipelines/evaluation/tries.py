"""The tries at one clip: made one after the other until one is accepted, and the best is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from videogen.errors import RejectedError
from videogen.requests import ClipRequest
from videogen.storage import Storage
from videogen_pipelines.clip_sink import ClipSink
from videogen_pipelines.evaluation.frame_scorer import FrameScorer
from videogen_pipelines.evaluation.gate import Gate, seed_of_try
from videogen_pipelines.keys import tries_key
from videogen_pipelines.sidecar import Provenance, Timings, Try

if TYPE_CHECKING:
    from videogen.evaluation import ClipMetrics


class ClipOutput:
    """Where the frames of a clip go: into its file and, if it is scored, to the metrics."""

    def __init__(self, sink: ClipSink, scorer: FrameScorer | None = None) -> None:
        self._sink = sink
        self._encode_s: float | None = None
        self.scorer = scorer

    def put(self, frames: np.ndarray) -> None:
        """Hand over frames, uint8 `t h w c`.

        Raises:
            EncodeError: the encoder has failed.
        """
        self._sink.put(frames)
        if self.scorer is not None:
            self.scorer.put(frames)

    @property
    def score_s(self) -> float:
        """Seconds that the metrics took."""
        return 0.0 if self.scorer is None else self.scorer.busy_s

    def close(self) -> float:
        """Wait until the file is complete, once; returns the seconds that encoding took."""
        if self._encode_s is None:
            self._encode_s = self._sink.close()
        return self._encode_s

    def abort(self) -> None:
        """Stop and leave no file."""
        if self.scorer is not None:
            self.scorer.abort()
        self._sink.abort()


@dataclass(frozen=True)
class Made:
    """A clip that was decoded and is being encoded; `provenance` tells what that took."""

    request: ClipRequest
    output: ClipOutput
    path: Path
    provenance: Provenance

    def drop(self) -> None:
        """Leave nothing of it."""
        self.output.abort()
        self.path.unlink(missing_ok=True)

    def metrics(self) -> ClipMetrics | None:
        """What it scored; None if nobody asked. Waits for the metrics.

        Raises:
            MediaError: it has no frames, or its file cannot be read.
        """
        if self.output.scorer is None or self.is_seen:
            return None if self.output.scorer is None else self.output.scorer.finish()
        self.output.close()  # the file also has the frames that an earlier attempt made
        return self.output.scorer.measure(self.path)

    @property
    def is_seen(self) -> bool:
        """Whether all frames came by, and not some from an earlier attempt."""
        scorer = self.output.scorer
        return scorer is not None and scorer.num_frames == self.request.num_frames


class Tries:
    """Iterate over it for the requests to make, and `add` each before asking for the next.

    Args:
        agree: from what the first rank says to what all ranks do; None of a rank that helps only.
        waiting: a context in which ranks show life while they wait for the metrics.
    """

    def __init__(
        self,
        gate: Gate | None,
        request: ClipRequest,
        agree: Callable[[bool], bool],
        waiting: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._gate = gate
        self._request = request
        self._agree = agree
        self._waiting = waiting
        self._tries: list[Try] = []
        self._cost: list[tuple[Timings, float]] = []
        self._best: Made | None = None
        self._is_over = False

    def __iter__(self) -> Iterator[tuple[int, ClipRequest]]:
        """Numbers from 1 and requests that differ in the seed."""
        for number in range(1, (self._gate.max_tries if self._gate else 1) + 1):
            seed = seed_of_try(self._request.seed, number)
            yield number, self._request.model_copy(update={"seed": seed})
            if self._is_over:
                return

    def add(self, number: int, made: Made | None) -> None:
        """Take note of a try; on ranks that only help, `made` is None.

        Raises:
            MediaError: it has no frames.
        """
        if self._gate is None:
            self._best, self._is_over = made, True
            return
        is_last = number == self._gate.max_tries
        try:
            with self._waiting():
                accepted = made is not None and self._judge(self._gate, number, made)
                self._is_over = is_last or self._agree(accepted)
        except BaseException:
            self.drop()
            raise

    def drop(self) -> None:
        """Leave nothing of the tries so far."""
        if self._best is not None:
            self._best.drop()
            self._best = None

    def kept(self) -> Made | None:
        """The best try, with what all of them cost and their history; None on helping ranks."""
        if self._gate is None or self._best is None:
            return self._best
        history = self._gate.history(self._tries)
        provenance = replace(
            self._best.provenance,
            timings=_sum([timings for timings, _ in self._cost]),
            gpu_s=sum(gpu_s for _, gpu_s in self._cost),
            tries=history,
        )
        return replace(self._best, provenance=provenance)

    def _judge(self, gate: Gate, number: int, made: Made) -> bool:
        metrics = made.metrics()
        verdict = gate.judge(number, made.request.seed, metrics.values() if metrics else {})
        self._tries.append(verdict)
        self._cost.append((made.provenance.timings, made.provenance.gpu_s))
        if gate.best(self._tries) is verdict:
            loser, self._best = self._best, made
        else:
            loser = made
        if loser is not None:
            loser.drop()
        return verdict.accepted


def refuse_rejected(storage: Storage, gate: Gate | None, provenance: Provenance) -> None:
    """Refuse a clip without an accepted try where the gate says so, and keep its history.

    Raises:
        RejectedError: it names the best try and what is held against it.
    """
    history = provenance.tries
    if gate is None or history is None or gate.on_reject == "keep" or history.accepted:
        return
    key, best = tries_key(provenance.request.id), history.kept
    storage.put(key, history.to_json())
    raise RejectedError(
        f"{provenance.request.id}: got {len(history.tries)} tries, none accepted, the best with "
        f"seed {best.seed} ({'; '.join(best.complaints)}), see {key}. Fix: lower evaluate.accept, "
        "raise evaluate.max_tries, or set evaluate.on_reject=keep."
    )


def _sum(timings: list[Timings]) -> Timings:
    names = Timings.model_fields
    total: Mapping[str, Any] = {n: sum(getattr(one, n) for one in timings) for n in names}
    return Timings(**total)
