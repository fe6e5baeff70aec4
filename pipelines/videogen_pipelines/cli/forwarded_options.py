"""The options of `videogen generate`, read here and said again for a cluster's machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from videogen_pipelines.cli.described_job import job_of
from videogen_pipelines.cli.generate import generate
from videogen_pipelines.cli.run_options import RunOptions

if TYPE_CHECKING:
    from videogen.storage import Storage

_HANDLED = frozenset(
    ["manifest", "out", "config", "overrides", "model", "image", "video", "json", "dry_run"]
)  # said in another way to a job


@dataclass(frozen=True)
class ForwardedOptions:
    """The options of `generate` as they were given; `said` names those on the command line."""

    params: dict[str, Any]
    said: dict[str, str]

    @classmethod
    def parse(cls, arguments: list[str]) -> ForwardedOptions:
        """Read the command line of `generate`, with its own error messages.

        Raises:
            BadParameter: it is wrong.
        """
        app = typer.Typer(add_completion=False)
        app.command(name="submit")(generate)
        command = typer.main.get_command(app)
        context = command.make_context("submit", list(arguments))
        params = context.params
        RunOptions.read(params)
        if params["dry_run"]:
            raise typer.BadParameter(
                "--dry-run belongs to 'videogen generate', which checks the same"
            )
        return cls(params, {p.name: _name(p) for p in command.params if _was_said(context, p)})

    def storage(self) -> Storage:
        from videogen.storage import open_storage

        return open_storage(self.params["out"])

    def check(self, shared: bool) -> set[Path]:
        """Check configuration and rows as `generate` would; returns local files to send along.

        Args:
            shared: every node has the same folders, so that there are none.

        Raises:
            ConfigError: a row names a file in a way that means nothing on another machine.
        """
        from videogen_pipelines.inputs import ManifestInputs
        from videogen_pipelines.submission import check_media_move, local_media

        job = job_of(RunOptions.read(self.params))
        media = set() if shared else local_media(job.inputs.requests(job.report))
        if media and isinstance(job.inputs, ManifestInputs):
            written = replace(job.inputs, as_written=True)
            check_media_move(written.requests(job.report), media)
        return media

    def arguments(
        self, manifest: str | None, out: str, media: Mapping[str, str] | None = None
    ) -> list[str]:
        """The same options for a machine that has none of this one's files.

        Args:
            media: where the files of --image and --video are for that machine, by option.

        Raises:
            ConfigError: the configuration file cannot be read.
        """
        from videogen.foreign.address import absolute_if_here, is_foreign
        from videogen_pipelines.config import override

        said = [] if manifest is None else [manifest]
        said += ["--out", out]
        for name, option in self.said.items():
            if name not in _HANDLED:
                said += _spelled(option, self.params[name])
        for name in ("image", "video"):
            if address := (media or {}).get(name, self.params[name]):
                said += [f"--{name}", address]
        if model := self.params["model"]:
            folder = Path(model).expanduser()
            elsewhere = absolute_if_here(model) if is_foreign(model) else model
            said += ["--model", str(folder.resolve()) if folder.is_dir() else elsewhere]
        sets = [*_flattened(self.params["config"]), *(self.params["overrides"] or [])]
        for each in [*sets, override("cluster.address", "auto")]:
            said += ["--set", each]
        return said


def _was_said(context: Any, parameter: Any) -> bool:
    source = context.get_parameter_source(parameter.name or "")
    return source is not None and source.name == "COMMANDLINE"


def _name(parameter: Any) -> str:
    return next((name for name in parameter.opts if name.startswith("--")), parameter.opts[0])


def _spelled(option: str, value: Any) -> list[str]:
    if value is True:  # a flag
        return [option]
    values = value if isinstance(value, list | tuple) else [value]
    return [part for each in values for part in (option, str(getattr(each, "value", each)))]


def _flattened(config: str | None) -> list[str]:
    """A configuration file as the values of `--set`."""
    from videogen.config import check_schema, load_yaml
    from videogen_pipelines.config import SCHEMA, override

    def leaves(path: str, value: Any) -> list[str]:
        # A key with a dot, such as a metric's name, can only be said inside of its mapping.
        if isinstance(value, dict) and value and not any("." in key for key in value):
            return [leaf for key, each in value.items() for leaf in leaves(f"{path}.{key}", each)]
        return [override(path[1:], value)]

    if config is None:
        return []
    said = check_schema(load_yaml(config), config, SCHEMA)
    return [
        leaf
        for key, value in said.items()
        if value is not None
        for leaf in leaves(f".{key}", value)
    ]
