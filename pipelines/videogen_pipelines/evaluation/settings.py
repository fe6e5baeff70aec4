"""How clips are scored, and the digest that says when two scores are of the same measure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videogen import __version__
from videogen_pipelines.config import EvaluateSection

if TYPE_CHECKING:
    from videogen.evaluation import Evaluator

SCORE_SCHEMA = 1
_PACKAGES = ("numpy", "opencv-python-headless", "transformers", "torch")


@dataclass(frozen=True)
class EvaluateSettings:
    """What every rank needs to know; picklable and small. See `config.EvaluateSection`."""

    metrics: tuple[str, ...] | None = None
    size: int = 128
    weights: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"

    @classmethod
    def of(cls, section: EvaluateSection) -> EvaluateSettings:
        """From the configuration; what gates ask for is always measured."""
        return cls(
            metrics=_with_gates(section.metrics, section.accept),
            size=section.size,
            weights={k: str(Path(v).expanduser().absolute()) for k, v in section.weights.items()},
            device=section.device,
        )

    def evaluator(self) -> Evaluator:
        """The evaluator itself; it also measures what sets of clips are compared by.

        Raises:
            ConfigError: there is no such metric or kind of weights.
            WeightsError: a weights folder is incomplete.
        """
        from videogen.evaluation import Evaluator

        return Evaluator(
            self.metrics, self.size, self.weights or None, feature=True, device=self.device
        )


def _with_gates(metrics: list[str] | None, accept: Mapping[str, str]) -> tuple[str, ...] | None:
    if metrics is None and not accept:
        return None
    from videogen.evaluation import select_metrics

    wanted = [metric.name for metric in select_metrics(metrics)]
    asked = [metric.name for metric in select_metrics(accept)]
    return tuple(dict.fromkeys([*wanted, *asked])) if accept else tuple(wanted)


def fingerprint(evaluator: Evaluator) -> str:
    """12 hex digits over what decides the numbers: metrics, versions, backends, size, weights."""
    from videogen.evaluation.sets import FEATURE

    weights = {kind: encoder.sha256 for kind, encoder in evaluator.encoders.items()}
    said = {
        "schema": SCORE_SCHEMA,
        "metrics": [[m.name, m.version, m.backend] for m in evaluator.metrics],
        "feature": FEATURE,
        "size": evaluator.size,
        "weights": weights,
    }
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def versions() -> dict[str, str]:
    """The packages that scores depend on, as installed here."""
    found: dict[str, Any] = {"videogen": __version__}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # an optional one
    return found
