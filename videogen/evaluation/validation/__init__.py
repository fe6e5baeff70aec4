"""Are the metrics worth anything? Clean clips are spoiled in graded ways, and each metric judged.

`measure` every clean clip, `summarise` the rows, and `markdown` the result.
"""

from videogen.evaluation.validation.clips import CleanClip, rendered_clips
from videogen.evaluation.validation.corruptions import CORRUPTIONS, Corruption
from videogen.evaluation.validation.report import Cell, Row, Validation, measure, summarise
from videogen.evaluation.validation.table import markdown

__all__ = [
    "CORRUPTIONS",
    "Cell",
    "CleanClip",
    "Corruption",
    "Row",
    "Validation",
    "markdown",
    "measure",
    "rendered_clips",
    "summarise",
]
