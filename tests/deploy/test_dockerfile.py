"""The image: what it copies is there, who it runs as, and that it names no host."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "cluster/deploy/Dockerfile"
LINES = re.sub(r"\\\n", " ", DOCKERFILE.read_text()).splitlines()
INSTRUCTIONS = [line.split(maxsplit=1) for line in LINES if line and not line.startswith("#")]


def instructions(name: str) -> list[str]:
    return [rest for word, rest in INSTRUCTIONS if word == name]


def copied() -> list[str]:
    lists = [rest.split() for rest in instructions("COPY") if not rest.startswith("--from")]
    return [source for words in lists for source in words[:-1]]


@pytest.mark.parametrize("source", copied())
def test_what_is_copied_is_there_and_is_sent_to_the_builder(source: str):
    assert (ROOT / source).exists()
    ignored = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = [rule[1:] for rule in rules if rule.startswith("!")]
    assert any(source == rule or source.startswith(f"{rule}/") for rule in allowed)


def test_everything_that_the_package_is_built_of_is_copied():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = project["tool"]["setuptools"]["package-dir"].values()
    files = [project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml"]
    assert {*folders, *files} <= set(copied())


def test_outputs_and_secrets_are_not_sent_to_the_builder():
    ignored = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    allowed = [line[1:] for line in ignored if line.startswith("!")]
    for private in ("out", "runs", ".git", ".env", "storage.env", ".venv", "shared"):
        assert not any(fnmatch.fnmatch(private, rule) for rule in allowed)


def test_it_does_not_run_as_root():
    users = [position for position, (word, _) in enumerate(INSTRUCTIONS) if word == "USER"]
    assert INSTRUCTIONS[users[-1]][1] not in ("0", "root")
    assert not [rest for word, rest in INSTRUCTIONS[users[-1] :] if "apt-get" in rest]


def test_no_host_is_named():
    images = [rest.split()[0] for rest in instructions("FROM")]
    assert len(images) == 2
    assert {image.partition(":")[0] for image in images} == {"python"}
    assert not re.search(r"https?://|\b[a-z0-9-]+\.(?:io|com|org|net)\b", DOCKERFILE.read_text())


def test_pythons_are_those_of_the_package():
    (default,) = {rest.partition("=")[2] for rest in instructions("ARG") if "PYTHON" in rest}
    assert default in ("3.11", "3.12")


def test_packages_are_the_pinned_ones():
    installs = [rest for rest in instructions("RUN") if "pip install" in rest]
    assert installs
    assert all("--constraint constraints.txt" in rest for rest in installs)
