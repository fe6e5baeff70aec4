"""From a run to a Ray job: names, commands, manifests, and what is refused."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path
from typing import Any

import pytest

from videogen.errors import ConfigError, OutputConflictError
from videogen.requests import ClipRequest
from videogen.storage import LocalStorage
from videogen_cluster.handshake import code_digest
from videogen_cluster.jobs import JobView
from videogen_pipelines.run_record import RunRecord, write_run_record
from videogen_pipelines.submission import (
    Submission,
    _file_system,
    check_media_move,
    check_reach,
    find_job,
    job_prefix,
    passed_environment,
    place_manifest,
)

RECORD = RunRecord.of({}, "prompts.jsonl", "m" * 64, "tiny", "d" * 64)


class Jobs:
    """A cluster with these jobs."""

    address = "http://head:8265"

    def __init__(self, **jobs: str) -> None:
        self.jobs = [JobView(name, status, "", None, 0) for name, status in jobs.items()]

    def all(self) -> list[JobView]:
        return self.jobs

    def of(self, prefix: str) -> list[JobView]:
        return [job for job in self.jobs if job.id.startswith(prefix)]


def request(storage: LocalStorage, jobs: Jobs, **fields: Any) -> Any:
    return Submission(storage, ["rows.jsonl", "--prompt", "it's"], {}, **fields).request(jobs)


def test_a_job_runs_generate_from_no_folder_of_anybody(storage: LocalStorage):
    made = request(storage, Jobs(), python="/opt/python")
    assert shlex.split(made.entrypoint) == [
        *("/opt/python", "-P", "-m", "videogen_pipelines", "generate"),
        *("rows.jsonl", "--prompt", "it's"),
    ]
    assert [package.name for package in made.packages] == [
        "videogen",
        "videogen_cluster",
        "videogen_pipelines",
    ]
    assert made.metadata == {
        "videogen_address": "http://head:8265",
        "videogen_code": code_digest(),
    }
    assert made.id == f"{job_prefix(storage.uri)}0001"


def test_a_cluster_that_has_the_code_is_sent_none_but_must_have_the_same(storage: LocalStorage):
    made = request(storage, Jobs(), ship="never")
    assert made.packages == []
    assert made.metadata["videogen_code"] == code_digest()


def test_every_invocation_is_another_job(storage: LocalStorage):
    write_run_record(storage, RECORD)
    write_run_record(storage, RECORD)
    prefix = job_prefix(storage.uri)
    ended = Jobs(**{f"{prefix}0001": "SUCCEEDED", f"{prefix}0002": "FAILED"})
    assert request(storage, ended).id == f"{prefix}0003"


def test_a_job_that_died_before_it_wrote_anything_is_submitted_again(storage: LocalStorage):
    name = f"{job_prefix(storage.uri)}0001"
    assert request(storage, Jobs(**{name: "FAILED"})).id == f"{name}.2"
    assert request(storage, Jobs(**{name: "FAILED", f"{name}.2": "STOPPED"})).id == f"{name}.3"


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_two_jobs_on_one_output_are_refused(storage: LocalStorage, state: str):
    write_run_record(storage, RECORD)
    name = f"{job_prefix(storage.uri)}0001"
    with pytest.raises(OutputConflictError, match=rf"{name}.*{state}.*videogen cancel"):
        request(storage, Jobs(**{name: state}))


def test_outputs_have_jobs_of_their_own():
    assert job_prefix("s3://b/run/") == job_prefix("s3://b/run")
    assert job_prefix("s3://b/run") != job_prefix("s3://b/run2")


def test_a_job_is_found_by_its_id_or_its_output(storage: LocalStorage):
    prefix = job_prefix(storage.uri)
    jobs = Jobs(other="RUNNING", **{f"{prefix}0001": "FAILED", f"{prefix}0002": "RUNNING"})
    assert find_job(jobs, f"{prefix}0001").id == f"{prefix}0001"
    assert find_job(jobs, str(storage.root)).id == f"{prefix}0002"
    with pytest.raises(ConfigError, match="expected a job id"):
        find_job(jobs, "nothing")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("rows.jsonl", ".jsonl"), ("rows.v2.csv", ".csv"), ("a b.jsonl.gz", ".jsonl.gz")],
)
def test_a_manifest_lies_under_its_digest(
    storage: LocalStorage, tmp_path: Path, name: str, kind: str
):
    path = tmp_path / name
    path.write_bytes(b'{"prompt": "x"}\n')
    placed = place_manifest(storage, path)
    assert place_manifest(storage, path) == placed
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert placed == f"{storage.uri}/inputs/{digest}{kind}"
    assert Path(placed).read_bytes() == path.read_bytes()


def test_media_lie_beside_their_manifest(storage: LocalStorage, tmp_path: Path):
    folder = tmp_path / "prompts"
    (folder / "pictures").mkdir(parents=True)
    picture = folder / "pictures" / "a.png"
    picture.write_bytes(b"a picture")
    manifest = folder / "rows.jsonl"
    manifest.write_bytes(b'{"prompt": "x", "image": "pictures/a.png"}\n')
    placed = Path(place_manifest(storage, manifest, {picture}))
    assert (placed.parent / "pictures" / "a.png").read_bytes() == b"a picture"
    assert place_manifest(storage, manifest, {picture}) == str(placed)

    picture.write_bytes(b"another picture")
    with pytest.raises(ConfigError, match="another content than when"):
        place_manifest(storage, manifest, {picture})


@pytest.mark.parametrize("home", [False, True])
def test_media_of_absolute_paths_cannot_go_along(tmp_path: Path, home: bool):
    picture = tmp_path / "a.png"

    def asked(image: str) -> ClipRequest:
        values = dict.fromkeys(("num_frames", "height", "width", "num_inference_steps"), 8)
        return ClipRequest(
            id="a", prompt="x", seed=0, fps=8.0, guidance_scale=1.0, sampler="euler", **values
        ).model_copy(update={"image": image})

    check_media_move([asked("a.png"), asked("s3://bucket/a.png")], {picture})
    said = "~/a.png" if home else str(picture)
    with pytest.raises(ConfigError, match=r"got an absolute path in a row.*--shared"):
        check_media_move([asked("a.png"), asked(said)], {picture})


def test_media_elsewhere_cannot_go_along(storage: LocalStorage, tmp_path: Path):
    manifest = tmp_path / "prompts" / "rows.jsonl"
    manifest.parent.mkdir()
    manifest.write_bytes(b'{"prompt": "x", "image": "../a.png"}\n')
    picture = tmp_path / "prompts" / ".." / "a.png"
    picture.write_bytes(b"a picture")
    with pytest.raises(ConfigError, match="below the manifest's folder"):
        place_manifest(storage, manifest, {picture})
    assert not list(storage.root.rglob("*.jsonl"))


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8265", "http://localhost:1", "http://[::1]:1"]
)
def test_a_folder_is_an_output_for_a_cluster_on_this_machine(storage: LocalStorage, address: str):
    check_reach(storage, address, shared=False)


def test_a_folder_of_this_machine_is_no_output_for_another(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("videogen_pipelines.submission._file_system", lambda _: "ext4")
    with pytest.raises(ConfigError, match=r"ext4.*--shared"):
        check_reach(storage, "http://head:8265", shared=False)
    check_reach(storage, "http://head:8265", shared=True)
    monkeypatch.setattr("videogen_pipelines.submission._file_system", lambda _: "nfs4")
    check_reach(storage, "http://head:8265", shared=False)
    assert f"{storage.uri} has to be the same folder on every node" in caplog.text
    check_reach(storage, "http://head:8265", shared=False, model=str(storage.root.parent))
    assert f"--model {storage.root.parent} has to be the same" in caplog.text


def test_the_file_system_of_a_folder_is_that_of_the_innermost_mount(tmp_path: Path):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/a / ext4 rw 0 0\nserver:/x /data nfs4 rw 0 0\ntmpfs /data/ram tmpfs rw\n"
    )
    assert _file_system(Path("/home/me"), mounts) == "ext4"
    assert _file_system(Path("/data/run"), mounts) == "nfs4"
    assert _file_system(Path("/data/ram/run"), mounts) == "tmpfs"
    assert _file_system(Path("/database"), mounts) == "ext4"


def test_only_what_is_no_secret_goes_to_the_nodes():
    here = {
        "AWS_ENDPOINT_URL": "http://store:9000",
        "AWS_REGION": "x",
        "AWS_SECRET_ACCESS_KEY": "abcdefgh1234",
    }
    assert passed_environment(["AWS_ENDPOINT_URL", "AWS_REGION"], here) == {
        "AWS_ENDPOINT_URL": "http://store:9000",
        "AWS_REGION": "x",
    }


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("AWS_SECRET_ACCESS_KEY", "instance role"),
        ("HOME", "expected one of AWS_DEFAULT_REGION"),
        ("AWS_PROFILE", "not set"),
        ("AWS_ENDPOINT_URL", "a secret in it"),
    ],
)
def test_everything_else_is_refused_without_showing_it(name: str, said: str):
    here = {"AWS_SECRET_ACCESS_KEY": "abcdefgh1234", "AWS_ENDPOINT_URL": "http://u:word@store"}
    with pytest.raises(ConfigError, match=said) as caught:
        passed_environment([name], here)
    assert "abcdefgh1234" not in str(caught.value)
    assert "word" not in str(caught.value)
