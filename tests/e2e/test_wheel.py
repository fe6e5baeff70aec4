"""The built wheel in an environment of its own, used from a folder with packages named like ours.

The environment sees the dependencies of the one that runs the tests through a path file. Path files
inside that folder are not read again, so an editable install of the checkout does not leak in.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import av
import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "videogen": ROOT / "videogen",
    "videogen_cluster": ROOT / "cluster" / "videogen_cluster",
    "videogen_pipelines": ROOT / "pipelines" / "videogen_pipelines",
}
ASSETS = (
    PACKAGES["videogen"] / "assets",
    PACKAGES["videogen_pipelines"] / "report" / "assets",
)
SHADOW = 'raise ImportError("the package of the user\'s own folder was imported instead of ours")\n'


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy: a build in the checkout would leave stale modules for the next one."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("videogen", "cluster", "pipelines"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    target = tmp_path_factory.mktemp("wheel")
    _run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", target, source])
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def binaries(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the `bin` folder of a new environment that holds the wheel."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    install = ["install", "--quiet", "--no-deps", "--no-index", wheel]
    _run([sys.executable, "-m", "pip", "--python", python, *install])
    (site_packages,) = home.glob("lib/python*/site-packages")
    dependencies = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site_packages / "dependencies.pth").write_text("\n".join(sorted(dependencies)) + "\n")
    return home / "bin"


@pytest.fixture
def users_folder(tmp_path: Path) -> Path:
    """A working directory whose own `pipelines` and `cluster` must stay out of our way."""
    for name in ("pipelines", "cluster"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(SHADOW)
    return tmp_path


def test_the_wheel_holds_every_module_and_asset_and_nothing_else(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    assert packed == {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.suffix == ".py" or path.name == "py.typed" or _is_asset(path)
    }


def test_imports_come_from_the_environment(binaries: Path, users_folder: Path) -> None:
    program = "".join(f"import {name}; print({name}.__file__);" for name in PACKAGES)

    printed = _run([binaries / "python", "-c", program], cwd=users_folder).split()

    assert len(printed) == len(PACKAGES)
    assert all(Path(file).is_relative_to(binaries.parent) for file in printed), printed


def test_the_command_says_its_version(binaries: Path, wheel: Path, users_folder: Path) -> None:
    printed = _run([binaries / "videogen", "--version"], cwd=users_folder)

    assert wheel.name.split("-")[1] in printed


def test_the_shipped_model_is_found(binaries: Path, users_folder: Path) -> None:
    assert "default" in _run([binaries / "videogen", "models"], cwd=users_folder)


@pytest.mark.cluster
def test_a_clip_is_made_on_workers_that_see_the_users_packages(
    binaries: Path, users_folder: Path
) -> None:
    """A worker that imported `pipelines` of this folder would fail, and so would the run."""
    size = ["--num-frames", "5", "--set", "sampling.num_inference_steps=2"]
    prompt = ["--prompt", "a red circle moving right", "--seed", "7"]

    _run([binaries / "videogen", "generate", *prompt, *size, "--out", "run"], cwd=users_folder)

    (clip,) = users_folder.glob("run/clips/*/*.mp4")
    with av.open(str(clip)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5
    (sidecar,) = users_folder.glob("run/meta/*/*.json")
    assert json.loads(sidecar.read_text())["request"]["prompt"] == "a red circle moving right"


def _is_asset(path: Path) -> bool:
    return path.is_file() and any(path.is_relative_to(folder) for folder in ASSETS)


def _run(command: Sequence[str | Path], cwd: Path | None = None) -> str:
    """Run without what the surrounding shell or test run says about where our packages are."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
