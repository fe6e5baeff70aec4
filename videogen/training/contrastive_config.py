"""What decides a contrastive training run: `configs/train/contrastive.yaml`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from videogen.models.text_video_spec import TextVideoConfig
from videogen.training.checks import check_counts, check_worlds
from videogen.training.config import ScheduleConfig


@dataclass(frozen=True, kw_only=True)
class DisturbanceConfig:
    """How clips are spoiled, so that generated ones look familiar. Amounts are upper limits."""

    share: float = 0.7
    """Clips that anything is done to; of those, each amount is drawn between 0 and its limit."""
    blur: float = 1.0
    """How much of a clip is replaced by its blur of two pixels."""
    colour_blur: float = 1.0
    """The same of its colours alone, over eight pixels, as video codecs and VAEs do."""
    noise: float = 0.08
    """Standard deviation of noise on every value, of values in [-1, 1]."""
    flicker: float = 0.06
    """Standard deviation of noise that is the same over an eighth of the side."""
    light: float = 0.08
    """Change of brightness, and of contrast."""


@dataclass(frozen=True, kw_only=True)
class ContrastiveTrainConfig:
    """Clips and captions to vectors that are near where they belong together."""

    schema: Literal[1] = 1
    schedule: ScheduleConfig
    """`batch_size` is that of all workers together, and every clip is told from all of it."""
    data: str = ""
    """A folder of shards that `videogen data pack` wrote; empty: rendered clips of `worlds`."""
    accumulate: int = 1
    """Parts that each worker's share of a batch is taken in, one after the other: less memory, and
    all but one of them are encoded twice."""
    name: str = "text-video"
    encoder: TextVideoConfig = field(default_factory=TextVideoConfig)
    start_from: str = ""
    """Whose weights are the start: a folder of an encoder of the same sizes, "shipped" for the one
    in this package; empty: random ones."""
    worlds: tuple[str, ...] = ("narrow", "wide")
    """Rendered clips are drawn from these; names may repeat. Not used with clips of one's own."""
    hard_negatives: int = 3
    """Captions with one attribute exchanged that each rendered clip is to be told from."""
    unknown_words: float = 0.1
    """Share of captions with unknown words among theirs."""
    usual_frames: int = 17
    """Length of most rendered clips."""
    num_frames: tuple[int, int] = (9, 33)
    """Shortest and longest of the others."""
    unusual_share: float = 0.3
    """Share of rendered clips of other lengths, of later starts, and of other shapes."""
    disturbance: DisturbanceConfig = field(default_factory=DisturbanceConfig)
    muon_learning_rate: float = 0.002
    """For the matrices of the blocks; everything else uses `schedule.learning_rate`.
    0 leaves them to AdamW."""
    autocast: bool = False
    """Matrix products in bfloat16: faster where the CPU has instructions for it."""
    validation_clips: int = 128

    def __post_init__(self) -> None:
        check_counts(self, "accumulate", "usual_frames", "validation_clips")
        check_worlds(self.worlds)
