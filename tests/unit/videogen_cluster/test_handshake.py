"""Driver and ranks compare what they are."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import videogen
import videogen_cluster
from videogen_cluster import handshake
from videogen_cluster.handshake import Versions

OURS = Versions("1.0", "aaaa", "3.11", "2.13.0", "2.60.0", "boot:1:2")


def test_a_process_knows_its_versions():
    here = Versions.here()
    assert here.videogen == videogen.__version__
    assert re.fullmatch(r"[0-9a-f]{12}", here.code)
    assert here.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert here.origin
    assert "+" not in here.torch


def test_what_differs_is_named_with_both_values():
    other = replace(OURS, torch="2.12.0", code="bbbb", origin="elsewhere")
    assert OURS.differences(other) == ["code bbbb, expected aaaa", "torch 2.12.0, expected 2.13.0"]


def test_the_same_folder_holds_the_same_code_whatever_was_edited_since():
    assert OURS.differences(replace(OURS, code="bbbb")) == []
    assert OURS.differences(replace(OURS, code="bbbb", origin="")) != []


def test_the_digest_covers_every_python_file(tmp_path: Path):
    for name in handshake.PACKAGES:
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "__init__.py").write_text("")
    digest = "import sys; sys.path[:0] = sys.argv[1:2]\n"
    digest += Path(handshake.__file__).read_text().partition("import videogen\n")[2]
    digest = (
        "from __future__ import annotations\nimport functools, hashlib, importlib.util, platform\n"
        "from dataclasses import asdict, dataclass\nfrom importlib import metadata\n"
        "from pathlib import Path\n" + digest + "\nprint(code_digest())"
    )

    def run() -> str:
        command = [sys.executable, "-c", digest, str(tmp_path)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    seen = {run()}
    for name in handshake.PACKAGES:
        (tmp_path / name / "inner" / "more.py").write_text("x = 1")
        seen.add(run())
    (tmp_path / "videogen" / "notes.txt").write_text("no code")
    seen.add(run())
    assert len(seen) == 4


def test_all_three_packages_are_found():
    assert {Path(p.__path__[0]).name for p in (videogen, videogen_cluster)} < set(
        handshake.PACKAGES
    )
    assert all(handshake._sources(package) for package in handshake.PACKAGES)
