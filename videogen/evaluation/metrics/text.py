"""`text.*`: does the clip show what its prompt says?"""

from __future__ import annotations

import numpy as np

from videogen.evaluation.metric import Metric, Score, mean
from videogen.evaluation.signals import Timeline

NO_PROMPT = "needs a prompt that names a shape the judge knows, and 5 frames"


def adherence(clip: Timeline) -> Score:
    """Share of the named attributes (colour, shape, motion, background) that are shown."""
    verdict = clip.extra.get("adherence")
    if verdict is None:
        return Score(float("nan"))
    return Score(
        float(np.mean(list(verdict.values()))), None, {**verdict, "read": clip.extra["read"]}
    )


def adherence_all(clip: Timeline) -> Score:
    verdict = clip.extra.get("adherence")
    return Score(float("nan")) if verdict is None else Score(float(all(verdict.values())))


def clip_alignment(clip: Timeline) -> Score:
    return Score(mean(clip["clip_text"]), clip["clip_text"])


METRICS = (
    Metric(
        "text.adherence", "higher", "0-1", ("adherence",), adherence, backend="shapes-judge",
        min_frames=5, absent=NO_PROMPT,
        about="Share of what the prompt names that the judge of the shapes world sees.",
    ),
    Metric(
        "text.adherence_all", "higher", "0/1", ("adherence",), adherence_all,
        backend="shapes-judge", min_frames=5, absent=NO_PROMPT,
        about="Whether the judge sees everything the prompt names.",
    ),
    Metric(
        "text.clip", "higher", "cosine", ("clip",), clip_alignment, backend="transformers-clip",
        weights="clip", absent="needs a prompt",
        about="Mean cosine between CLIP's embeddings of the frames and of the prompt.",
    ),
)  # fmt: skip
