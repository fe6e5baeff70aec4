"""Names of pipelines, and the folders that they mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from videogen.errors import WeightsError
from videogen.foreign.address import absolute, absolute_if_here, is_foreign, stage_folders


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "model_index.json").write_text("{}")
    return path


def test_only_the_prefix_makes_a_name_foreign():
    assert is_foreign("diffusers:/models/a")
    assert not is_foreign("/models/diffusers:a")
    assert not is_foreign(Path("default"))


def test_relative_folders_mean_the_same_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first, second = folder(tmp_path / "one"), folder(tmp_path / "two")
    monkeypatch.chdir(tmp_path)
    assert absolute("diffusers:one+ two") == f"diffusers:{first}+{second}"
    assert stage_folders("diffusers:one") == (first,)
    assert absolute_if_here("diffusers:one") == f"diffusers:{first}"
    assert absolute_if_here("diffusers:/of/the/cluster") == "diffusers:/of/the/cluster"


def test_a_folder_with_a_plus_in_its_name_is_one_folder(tmp_path: Path):
    both = folder(tmp_path / "a+b")
    assert stage_folders(f"diffusers:{both}") == (both,)


@pytest.mark.parametrize("name", ["", "someone/some-pipeline", "{there}+", "{there}+{there}/none"])
def test_what_is_no_folder_here_is_refused_and_nothing_is_fetched(tmp_path: Path, name: str):
    there = folder(tmp_path / "there")
    with pytest.raises(WeightsError, match=r"nothing is fetched from a hub"):
        stage_folders(f"diffusers:{name.format(there=there)}")
