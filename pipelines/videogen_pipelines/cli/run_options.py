"""What a command line of `videogen generate` says of what is to be made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import typer

from videogen_pipelines.cli.generate_options import BadRows, ExtraColumns, OutputFormat

OF_PROMPTS = ("seed", "duration", "image", "video", "loop")
"""Options that rows of a manifest say themselves."""


@dataclass(frozen=True)
class RunOptions:
    """The options of `generate` that decide what is made, by the names of its parameters."""

    manifest: str | None
    out: str
    prompt: Sequence[str] | None
    negative_prompt: str | None
    num_frames: int | None
    seed: int | None
    duration: float | None
    image: str | None
    video: str | None
    loop: bool
    num_samples: int | None
    limit: int | None
    column_map: Sequence[str] | None
    extra_columns: ExtraColumns
    bad_rows: BadRows
    model: str | None
    lora: Sequence[str] | None
    gangs: int | None
    grid: Sequence[str] | None
    evaluate: bool
    output_format: OutputFormat | None
    config: str | None
    overrides: Sequence[str] | None

    @classmethod
    def read(cls, params: Mapping[str, Any]) -> RunOptions:
        """Take the parameters of `generate`, whose other options are left alone.

        Raises:
            BadParameter: some exclude each other.
        """
        named = {each.name: params[each.name] for each in fields(cls)}
        named["extra_columns"] = ExtraColumns(named["extra_columns"])  # click leaves it a text
        named["bad_rows"] = BadRows(named["bad_rows"])
        said = cls(**named)
        said._check()
        return said

    def _check(self) -> None:
        if (self.manifest is None) == (not self.prompt):
            raise typer.BadParameter("give a manifest or at least one --prompt, and not both")
        for name in OF_PROMPTS:
            if self.manifest is not None and getattr(self, name) not in (None, False):
                field = "duration_s" if name == "duration" else name
                raise typer.BadParameter(
                    f"--{name} belongs to --prompt; in a manifest, rows say '{field}'"
                )
