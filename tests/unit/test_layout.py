"""The rules of the tree that no linter knows: sizes, names, links, and what an import may cost."""

from __future__ import annotations

import functools
import re
import statistics
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
import typer.core
import typer.main
import yaml

from videogen_pipelines.cli.app import app

ROOT = Path(__file__).parents[2]
MAX_LINES = 500
MAX_TEST_LINES = 600
MAX_MEDIAN_LINES = 130
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "misc"}
UNSAFE_LOADS = re.compile(
    r"yaml\.(?:unsafe_|full_)?load(?:_all)?\(|pickle\.loads?\(|weights_only=False"
    r"|torch\.load\((?!.*weights_only=True)"
)
MARKDOWN_LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)(?:\s+\"[^\"]*\")?\)")
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
PLACEHOLDER = re.compile(r"@@\w+@@|\b(?:TODO|FIXME|TBD)\b")
PROGRAM_COMMAND = re.compile(r"^\s*(?:\$ )?videogen ([a-z]+)", re.MULTILINE)
MAKE_COMMAND = re.compile(r"^\s*(?:\$ )?make ((?:[a-z][a-z-]* ?)+)", re.MULTILINE)

# What a package must not bring in, so that it runs on a bare machine with an accelerator.
BARE_PACKAGES = (
    "videogen.models",
    "videogen.diffusion",
    "videogen.parallel",
    "videogen.training",
    "videogen.shapes",
)
NOT_ON_A_BARE_MACHINE = ("pydantic", "av", "decord", "ray", "transformers", "pyarrow", "boto3")


@functools.cache
def tracked(pattern: str) -> list[Path]:
    """Files that git tracks or would add, so that build products and environments do not count."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", pattern],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    files = sorted(ROOT / line for line in listed.stdout.splitlines())
    return [file for file in files if file.is_file()]


def product_modules() -> list[Path]:
    return [file for file in tracked("*.py") if not file.is_relative_to(ROOT / "tests")]


def number_of_lines(file: Path) -> int:
    return len(file.read_text().splitlines())


def newly_imported(modules: list[str], watched: Iterable[str]) -> list[str]:
    """Import `modules` in a fresh interpreter; return "module: watched" for each one brought in."""
    roots = [str(ROOT), str(ROOT / "cluster"), str(ROOT / "pipelines")]
    program = textwrap.dedent(f"""
        import importlib, sys
        sys.path[:0] = {roots!r}
        absent = set({sorted(watched)!r}) - set(sys.modules)
        for name in {modules!r}:
            importlib.import_module(name)
            for found in sorted(absent & set(sys.modules)):
                print(f"{{name}}: {{found}}")
            absent -= set(sys.modules)
    """)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def submodules(package: str) -> list[str]:
    folder = ROOT.joinpath(*package.split("."))
    return sorted(
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for file in folder.rglob("*.py")
    )


def test_modules_are_short() -> None:
    assert product_modules()

    too_long = {
        str(file.relative_to(ROOT)): lines
        for file in tracked("*.py")
        for cap in [MAX_TEST_LINES if file.is_relative_to(ROOT / "tests") else MAX_LINES]
        if (lines := number_of_lines(file)) > cap
    }

    assert too_long == {}
    assert statistics.median(map(number_of_lines, product_modules())) <= MAX_MEDIAN_LINES


def test_modules_are_named_by_what_they_hold() -> None:
    assert [file for file in tracked("*.py") if file.stem in EMPTY_NAMES] == []


def test_tests_mirror_the_packages() -> None:
    """A test of package code lies in a folder of tests/unit that the packages have too."""
    roots = {"videogen": ROOT, "videogen_cluster": ROOT / "cluster"}
    roots["videogen_pipelines"] = ROOT / "pipelines"

    astray = [
        folder
        for folder in {file.parent for file in tracked("tests/unit/*.py")}
        for parts in [folder.relative_to(ROOT / "tests" / "unit").parts]
        if parts and not roots.get(parts[0], ROOT / "absent").joinpath(*parts).is_dir()
    ]

    assert astray == []


def test_nothing_loads_code_from_data() -> None:
    hits = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in product_modules()
        for number, line in enumerate(file.read_text().splitlines(), start=1)
        if UNSAFE_LOADS.search(line)
    ]

    assert hits == []


@pytest.mark.parametrize(
    "line",
    ["yaml.load(text)", "pickle.loads(blob)", "torch.load(path)", "f(weights_only=False)"],
)
def test_an_unsafe_load_would_be_found(line: str) -> None:
    assert UNSAFE_LOADS.search(line)
    assert not UNSAFE_LOADS.search("yaml.safe_load(text); torch.load(path, weights_only=True)")


@pytest.mark.parametrize("file", tracked("configs/*.y*ml"), ids=lambda file: file.name)
def test_a_shipped_config_is_yaml_with_a_schema(file: Path) -> None:
    content = yaml.safe_load(file.read_text())

    assert isinstance(content, dict)
    assert content.get("schema") == 1


@pytest.mark.parametrize("file", tracked("*.md"), ids=lambda file: str(file.relative_to(ROOT)))
def test_local_links_lead_somewhere(file: Path) -> None:
    text = CODE_BLOCK.sub("", file.read_text())
    links = [link.partition("#")[0] for link in MARKDOWN_LINK.findall(text)]

    assert [k for k in links if k and ":" not in k and not (file.parent / k).exists()] == []


@pytest.mark.parametrize("file", tracked("*.md"), ids=lambda file: str(file.relative_to(ROOT)))
def test_make_commands_in_the_documents_exist(file: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    blocks = "\n".join(CODE_BLOCK.findall(file.read_text()))

    assert {word for found in MAKE_COMMAND.findall(blocks) for word in found.split()} <= targets


@pytest.mark.parametrize("file", tracked("*.md"), ids=lambda file: str(file.relative_to(ROOT)))
def test_videogen_commands_in_the_documents_exist(file: Path) -> None:
    blocks = "\n".join(CODE_BLOCK.findall(file.read_text()))
    program = typer.main.get_command(app)

    assert isinstance(program, typer.core.TyperGroup)
    assert set(PROGRAM_COMMAND.findall(blocks)) <= set(program.commands)


@pytest.mark.parametrize("file", tracked("*.md"), ids=lambda file: str(file.relative_to(ROOT)))
def test_the_documents_are_finished(file: Path) -> None:
    assert PLACEHOLDER.findall(file.read_text()) == []


def test_the_makefile_offers_what_is_promised() -> None:
    offered = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert {"setup", "demo", "test", "lint", "bench", "clean", "help"} <= offered


def test_what_runs_on_a_bare_machine_imports_little() -> None:
    modules = [module for package in BARE_PACKAGES for module in submodules(package)]

    assert len(modules) > len(BARE_PACKAGES)
    assert newly_imported(modules, NOT_ON_A_BARE_MACHINE) == []


def test_importing_the_package_is_cheap() -> None:
    heavy = ["torch", "numpy", "transformers", "ray", "pydantic", "av", "einops"]

    assert newly_imported(["videogen"], heavy) == []


def test_an_import_would_be_noticed() -> None:
    assert newly_imported(["email", "tomllib"], ["tomllib", "sqlite3"]) == ["tomllib: tomllib"]


def test_there_is_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert project["project"]["dynamic"] == ["version"]
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "videogen.__version__"}


def test_the_pins_carry_no_build_and_no_place() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]

    assert pins
    assert [
        pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", pin)
    ] == []
