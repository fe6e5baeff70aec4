"""docs/cluster.md tells the truth: metrics, settings, options and messages are the program's."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.core
import typer.main

from videogen_cluster import metrics
from videogen_pipelines.cli.app import app
from videogen_pipelines.config import ClusterSection, load_run_config

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/cluster.md").read_text()
BLOCKS = "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL))
COMMANDS = re.findall(r"^videogen (\w+) ([^#\n]*)", BLOCKS.replace("\\\n", " "), re.MULTILINE)
SOURCES = [
    path.read_text()
    for folder in ("videogen", "cluster/videogen_cluster", "pipelines/videogen_pipelines")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
# One text, with the strings that are written in pieces put together.
SOURCE = re.sub(r"[\"']\s*\n\s*f?[\"']", "", "\n".join(SOURCES))


def trouble() -> list[str]:
    """What people see: the first column of the last table, without what differs every time."""
    table = TEXT[TEXT.index("## Trouble") :]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    quoted = [text for cell in cells for text in re.findall(r"`([^`]+)`", cell)]
    parts = [part.strip() for text in quoted for part in re.split(r"…|\bN\b|: got ", text)]
    return [
        part
        for part in parts
        if len(part) >= 8 and not part.startswith(("videogen ", "Ray at", "gangs 0"))
    ]


def test_the_table_of_trouble_is_read():
    assert len(trouble()) >= 15


@pytest.mark.parametrize("part", trouble())
def test_messages_are_those_of_the_program(part: str):
    assert part in SOURCE


def test_the_metrics_are_those_of_a_run():
    table = TEXT[TEXT.index("| Metric |") : TEXT.index("## What it costs")]
    named = {*metrics._COUNTERS, *metrics._GAUGES, *metrics._HISTOGRAMS}
    assert set(re.findall(r"ray_videogen_([a-z_]+)", table)) == named


def test_settings_exist_and_have_the_defaults_that_are_named():
    names = set(re.findall(r"`cluster\.([a-z_]+)", TEXT))
    assert names <= set(ClusterSection.model_fields)
    assert load_run_config().cluster.max_attempts == 3
    assert load_run_config().cluster.max_gang_deaths == 6
    assert "`cluster.max_attempts` attempts (3)" in TEXT
    assert "`cluster.max_gang_deaths` (6)" in TEXT


@pytest.mark.parametrize("name,rest", COMMANDS, ids=lambda value: str(value)[:40])
def test_the_commands_have_the_options_that_are_used(name: str, rest: str):
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    taken = [group.commands[name], *([group.commands["generate"]] if name == "submit" else [])]
    known = {option for command in taken for p in command.params for option in p.opts}
    words = shlex.split(rest)
    assert {word for word in words if word.startswith("--")} <= known
    load_run_config(overrides=[words[i + 1] for i, word in enumerate(words) if word == "--set"])


def test_files_are_named_that_are_there():
    assert all((ROOT / path).is_file() for path in re.findall(r"configs/[a-z_/]+\.yaml", TEXT))
    assert "](../cluster/deploy/" in TEXT
