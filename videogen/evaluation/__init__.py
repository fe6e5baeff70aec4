"""How coherent a clip is over time: metrics without weights, streaming, and what they are worth.

`Evaluator().evaluate(frames, fps=12).values()["coherence.score"]`, frames uint8 `t h w c`.
"""

from videogen.evaluation.evaluator import ClipEvaluation, Evaluator
from videogen.evaluation.metric import Metric
from videogen.evaluation.registry import METRICS, select_metrics
from videogen.evaluation.result import ClipMetrics, Direction, MetricResult

__all__ = [
    "METRICS",
    "ClipEvaluation",
    "ClipMetrics",
    "Direction",
    "Evaluator",
    "Metric",
    "MetricResult",
    "select_metrics",
]
