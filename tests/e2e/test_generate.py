"""`videogen generate` as people run it: exit codes, resuming, Ctrl-C, and the same pixels."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from videogen.media import read_video

pytestmark = [pytest.mark.e2e, pytest.mark.cluster]

Row = dict[str, Any]
SHADOW = 'raise ImportError("a package of the user\'s own folder was imported instead of ours")\n'


@pytest.fixture
def generate(
    start_program: Callable[..., Any], tmp_path: Path, tiny_model: Path
) -> Callable[..., Any]:
    """Start `videogen generate` with the tiny model, on rows written to a manifest."""

    def start(rows: list[Row] | None, out: str, *arguments: object) -> Any:
        manifest = []
        if rows is not None:
            path = tmp_path / f"{out}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            manifest = [path]
        return start_program("generate", *manifest, "--out", out, "--model", tiny_model, *arguments)

    return start


def rows(count: int, **fields: Any) -> list[Row]:
    return [
        {"id": f"clip-{index:03d}", "prompt": "a red circle", "seed": index, **fields}
        for index in range(count)
    ]


def clips(out: Path) -> dict[str, Path]:
    return {path.stem: path for path in out.glob("clips/*/*.mp4")}


def sidecars(out: Path) -> set[str]:
    return {path.stem for path in out.glob("meta/*/*.json")}


def pixels(out: Path) -> dict[str, np.ndarray]:
    return {name: read_video(path)[0] for name, path in clips(out).items()}


def expect_nobody_left(before: dict[int, str]) -> None:
    """Ray's processes and the rank end with the program.

    Ray's two agents have nothing of ours in hand and notice by themselves, a minute or two later.
    """
    deadline = time.monotonic() + 60
    ours = [pid for pid, name in before.items() if "Agent" not in name]
    while alive := [pid for pid in ours if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, {pid: before[pid] for pid in alive}
        time.sleep(0.1)


def test_a_seed_makes_the_same_pixels_wherever_its_row_stands(
    generate: Callable[..., Any], tmp_path: Path
):
    wanted = rows(3)
    ended = generate(wanted, "manifest", "--json").wait()
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert (report["state"], report["done"], report["failed"]) == ("complete", 3, 0)
    assert (tmp_path / "manifest/_SUCCESS").exists()

    assert generate(wanted[::-1], "reordered").wait().code == 0
    made, reordered = pixels(tmp_path / "manifest"), pixels(tmp_path / "reordered")
    assert set(made) == {row["id"] for row in wanted}
    for name, frames in made.items():
        np.testing.assert_array_equal(frames, reordered[name], err_msg=name)
    assert not np.array_equal(made["clip-000"], made["clip-001"])

    prompt = ("--prompt", "a red circle", "--seed", 1)
    assert generate(None, "alone", *prompt).wait().code == 0
    (alone,) = pixels(tmp_path / "alone").values()
    np.testing.assert_array_equal(alone, made["clip-001"])


def test_ctrl_c_stops_within_seconds_and_the_same_command_continues(
    generate: Callable[..., Any], tmp_path: Path
):
    wanted = rows(20, num_inference_steps=40)
    out = tmp_path / "out"
    program = generate(wanted, "out")
    program.wait_until(lambda: len(sidecars(out)) >= 3)
    family = program.family()
    asked = time.monotonic()
    program.interrupt()
    ended = program.wait(60)
    assert ended.code == 130, ended.err
    assert time.monotonic() - asked < 30
    assert "the same command continues" in ended.out
    assert "Traceback" not in ended.err
    expect_nobody_left(family)
    assert not (out / ".scratch").exists()
    assert not (out / "_SUCCESS").exists()
    made = {name: path.stat().st_mtime_ns for name, path in clips(out).items()}
    assert 3 <= len(made) < 20
    assert set(made) == sidecars(out)

    again = generate(wanted, "out", "--json").wait()
    assert again.code == 0, again.err
    assert json.loads(again.out)["summary"]["done"] == 20 - len(made)
    after = clips(out)
    assert set(after) == sidecars(out) == {row["id"] for row in wanted}
    assert {name: after[name].stat().st_mtime_ns for name in made} == made, "made again"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_two_signals_stop_at_once(
    generate: Callable[..., Any], tmp_path: Path, number: signal.Signals
):
    program = generate(rows(3, num_inference_steps=1000), "out", "--log-interval", 0.5)
    program.wait_until(lambda: any((tmp_path / "out").glob(".scratch/*")))
    family = program.family()
    os.kill(program.process.pid, number)
    time.sleep(0.5)
    asked = time.monotonic()
    os.kill(program.process.pid, number)
    assert program.wait(60).code == 130
    assert time.monotonic() - asked < 20
    expect_nobody_left(family)


def test_a_signal_while_it_starts_stops_it(generate: Callable[..., Any], tmp_path: Path):
    program = generate(rows(3), "out")
    program.wait_until((tmp_path / "out/run.json").exists)
    program.interrupt()
    ended = program.wait(60)
    assert ended.code == 130, ended.err
    assert sidecars(tmp_path / "out") == set()


def test_a_killed_rank_costs_an_attempt_and_no_clip(generate: Callable[..., Any], tmp_path: Path):
    wanted = rows(8, num_inference_steps=30)
    program = generate(wanted, "out", "--json")
    program.wait_until(lambda: len(sidecars(tmp_path / "out")) >= 2)
    (rank,) = [pid for pid, command in program.family().items() if "ray::Rank" in command]
    os.kill(rank, signal.SIGKILL)
    ended = program.wait()
    assert ended.code == 0, ended.err
    assert "lost gang 0: rank_death" in ended.err
    assert set(clips(tmp_path / "out")) == {row["id"] for row in wanted}


def test_a_killed_program_takes_its_family_with_it(generate: Callable[..., Any], tmp_path: Path):
    program = generate(rows(8, num_inference_steps=200), "out")
    program.wait_until(lambda: any((tmp_path / "out").glob(".scratch/*")))
    family = program.family()
    assert any("ray::Rank" in command for command in family.values())
    program.kill()
    expect_nobody_left(family)


def test_packages_of_the_users_folder_are_left_alone(generate: Callable[..., Any], tmp_path: Path):
    for name in ("videogen", "cluster", "pipelines", "videogen_cluster", "videogen_pipelines"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(SHADOW)
    ended = generate(rows(1), "out").wait()
    assert ended.code == 0, ended.err
    assert set(clips(tmp_path / "out")) == {"clip-000"}


def test_ray_listens_on_the_loopback_only(generate: Callable[..., Any], tmp_path: Path):
    program = generate(rows(8, num_inference_steps=200), "out")
    program.wait_until(lambda: any((tmp_path / "out").glob(".scratch/*")))
    listening = {
        address
        for pid in [program.process.pid, *program.family()]
        for address in listening_addresses(pid)
    }
    program.kill()
    assert listening
    assert listening <= {"127.0.0.1"}, listening


def test_bad_rows_are_refused_or_reported(generate: Callable[..., Any], tmp_path: Path):
    bad = [*rows(1), {"id": "wrong", "prompt": "p", "height": 33}]
    refused = generate(bad, "out").wait()
    assert refused.code == 2
    assert "line 2: height: got 33" in refused.err
    assert not (tmp_path / "out").exists()

    skipped = generate(bad, "out", "--bad-rows", "skip", "--json").wait()
    assert skipped.code == 1
    assert json.loads(skipped.out)["failed"] == 1
    (error,) = map(json.loads, (tmp_path / "out/errors.jsonl").read_text().splitlines())
    assert (error["id"], error["error_class"]) == ("wrong", "invalid_request")
    assert (tmp_path / "out/_SUCCESS").exists()

    conflict = generate([{**bad[0], "seed": 77}], "out").wait()
    assert conflict.code == 2
    assert "'clip-000'" in conflict.err


def test_damaged_weights_are_an_environment_error(
    generate: Callable[..., Any], tmp_path: Path, tiny_model: Path
):
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in tiny_model.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    weights = bytearray((broken / "dit.safetensors").read_bytes())
    weights[-1] ^= 255
    (broken / "dit.safetensors").write_bytes(weights)
    ended = generate(rows(1), "out", "--model", broken).wait()
    assert ended.code == 3
    assert "dit.safetensors" in ended.err
    assert "Traceback" not in ended.err


def listening_addresses(pid: int) -> set[str]:
    """The IPv4 addresses a process listens on; IPv4 ones written as IPv6 count as IPv4."""
    inodes = {
        link.removeprefix("socket:[").removesuffix("]")
        for link in map(_link, Path(f"/proc/{pid}/fd").glob("*"))
        if link.startswith("socket:[")
    }
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                packed = bytes.fromhex(fields[1].split(":")[0][-8:])
                found.add(".".join(str(byte) for byte in packed[::-1]))
    return found


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
