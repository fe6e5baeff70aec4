"""Every metric and every probe by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from videogen.evaluation.metric import Metric
from videogen.evaluation.metrics import (
    coherence,
    consistency,
    cuts,
    drift,
    flicker,
    frame,
    motion,
    pretrained,
    similarity,
    text,
    vbench,
)
from videogen.evaluation.probes.adherence import AdherenceProbe
from videogen.evaluation.probes.change import ChangeProbe
from videogen.evaluation.probes.dynamic import DynamicProbe, StaticProbe
from videogen.evaluation.probes.feature import FeatureProbe
from videogen.evaluation.probes.light import LightProbe
from videogen.evaluation.probes.likeness import LikenessProbe
from videogen.evaluation.probes.motion import PairProbe, TripleProbe
from videogen.evaluation.probes.pretrained import PretrainedProbe
from videogen.evaluation.probes.similarity import SimilarityProbe
from videogen.evaluation.signals import Probe
from videogen.registry import Registry

FAMILIES = (
    coherence,
    flicker,
    motion,
    cuts,
    consistency,
    drift,
    frame,
    text,
    similarity,
    vbench,
    pretrained,
)
METRICS: Registry[Metric] = Registry(
    "metric", {metric.name: metric for family in FAMILIES for metric in family.METRICS}
)


@dataclass(frozen=True)
class ProbeContext:
    """What a probe may know of the clip before the first frame."""

    fps: float
    prompt: str | None = None
    encoders: Mapping[str, Any] = field(default_factory=dict)
    """Loaded networks by kind: `FrameEncoder`, `PublishedFlow` for "raft", `TextVideoReader`."""


_PROBES: dict[str, Callable[[ProbeContext], Probe]] = {
    "light": lambda context: LightProbe(),
    "change": lambda context: ChangeProbe(),
    "pair": lambda context: PairProbe(),
    "triple": lambda context: TripleProbe(),
    "likeness": lambda context: LikenessProbe(context.fps),
    "adherence": lambda context: AdherenceProbe(context.prompt),
    "similarity": lambda context: SimilarityProbe(
        context.prompt, context.fps, context.encoders.get("text-video")
    ),
    "feature": lambda context: FeatureProbe(),
    "clip": lambda context: PretrainedProbe(context.encoders["clip"], context.prompt),
    "dinov2": lambda context: PretrainedProbe(context.encoders["dinov2"], context.prompt),
    "raft": lambda context: DynamicProbe(context.encoders["raft"], context.fps),
    "raft_static": lambda context: StaticProbe(context.encoders["raft"]),
    "dino": lambda context: PretrainedProbe(context.encoders["dino"], context.prompt),
}


def select_metrics(names: Iterable[str] | None) -> tuple[Metric, ...]:
    """Metrics by name or family ("drift" or "drift.*"); None chooses the default set.

    Raises:
        ConfigError: no metric or family has that name.
    """
    if names is None:
        return tuple(METRICS[name] for name in METRICS if METRICS[name].default)
    chosen: dict[str, Metric] = {}
    for name in names:
        chosen |= {metric.name: metric for metric in _named(name)}
    return tuple(chosen.values())


def _named(name: str) -> Sequence[Metric]:
    family = name.removesuffix(".*")
    of_family = [METRICS[known] for known in METRICS if known.split(".")[0] == family]
    return of_family or [METRICS[name]]


def probes_for(needed: Collection[str], context: ProbeContext) -> list[Probe]:
    """Probes by name, each once, in a fixed order."""
    return [make(context) for name, make in _PROBES.items() if name in needed]
