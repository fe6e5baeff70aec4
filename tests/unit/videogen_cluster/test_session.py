"""What a private Ray gets to see and leaves behind; the rest is tested on a real one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import videogen
from videogen_cluster import session


def test_workers_import_what_this_process_imports():
    roots = session._import_roots()
    assert str(Path(videogen.__path__[0]).parent) in roots
    for package in ("videogen", "videogen_cluster", "videogen_pipelines"):
        assert any((Path(root) / package).is_dir() for root in roots)


def test_site_packages_never_move_ahead_of_the_standard_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}/lib/site-packages:{tmp_path}")
    roots = session._import_roots()
    assert not [root for root in roots if "site-packages" in root]
    assert roots[0] == str(tmp_path)


def test_the_environment_comes_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VIDEOGEN_TEST_A", "before")
    monkeypatch.delenv("VIDEOGEN_TEST_B", raising=False)
    with session._environment({"VIDEOGEN_TEST_A": "during", "VIDEOGEN_TEST_B": "during"}):
        assert os.environ["VIDEOGEN_TEST_A"] == os.environ["VIDEOGEN_TEST_B"] == "during"
    assert os.environ["VIDEOGEN_TEST_A"] == "before"
    assert "VIDEOGEN_TEST_B" not in os.environ


def test_the_working_directory_comes_back(tmp_path: Path):
    before = Path.cwd()
    with session._neutral_folder(tmp_path):
        assert Path.cwd() == tmp_path / "cwd"
    assert Path.cwd() == before


def test_folders_of_dead_runs_are_removed_and_those_of_living_ones_are_not(tmp_path: Path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (f"vg-ray-{dead.pid}-abc", f"vg-ray-{os.getpid()}-abc", "vg-ray-x", "other"):
        (tmp_path / name).mkdir()
    session._remove_abandoned(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [f"vg-ray-{os.getpid()}-abc", "vg-ray-x", "other"]
    )


def test_the_token_is_secret_and_one_a_process():
    assert session._token() == session._token()
    assert len(session._token()) == 64


def test_socket_paths_stay_within_what_the_kernel_allows():
    with session._temp_folder() as folder:
        longest = folder / "r" / "session_2026-11-21_08-45-32_533338_4194304/sockets/plasma_store"
        assert len(str(longest)) <= 107
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        ({"RAY_ADDRESS": "10.0.0.1:6379"}, "10.0.0.1:6379"),
        ({"RAY_ADDRESS": "http://10.0.0.1:8265"}, None),
        ({"RAY_ADDRESS": "local"}, None),
        ({"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}, "auto"),
        ({"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}", "RAY_ADDRESS": "10.0.0.1:6379"}, "10.0.0.1:6379"),
    ],
)
def test_a_job_of_a_cluster_runs_on_it(
    environment: dict[str, str], found: str | None, monkeypatch: pytest.MonkeyPatch
):
    for name in ("RAY_ADDRESS", "RAY_JOB_CONFIG_JSON_ENV_VAR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert session.surrounding_cluster() == found


def test_only_a_checkout_is_named_to_workers_of_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(session, "_is_installed", lambda: True)
    assert session._joining_options() == {}
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    env = session._joining_options()["runtime_env"]["env_vars"]
    assert env["PYTHONPATH"].split(":")[0] == str(tmp_path)
    assert env["PYTHONPATH"].split(":")[-1] == "${PYTHONPATH}"
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert session._joining_options() == {}


def test_no_working_directory_is_ever_sent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(session, "_is_installed", lambda: False)
    assert set(session._joining_options()["runtime_env"]) == {"env_vars"}


@pytest.mark.parametrize("said", ["HTTP 401", "Unauthenticated: no header", "InvalidAuthToken"])
def test_a_missing_token_is_explained(said: str):
    assert "the cluster asks for a token: copy" in session._remedy("10.0.0.1:6379", said)
    assert "RAY_AUTH_MODE" not in session._remedy(None, said)


def test_a_cluster_that_does_not_answer_may_want_a_token():
    remedy = session._remedy("10.0.0.1:6379", "Failed to connect to Ray cluster")
    assert "cluster.address" in remedy
    assert "RAY_AUTH_MODE=token" in remedy
