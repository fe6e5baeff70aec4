from __future__ import annotations

import hashlib
import json

import pytest

from videogen.errors import StorageError
from videogen.storage import LocalStorage
from videogen_pipelines.run_record import (
    RunRecord,
    config_sha256,
    read_run_record,
    write_run_record,
)


def record(model: str = "tiny", **config: object) -> RunRecord:
    return RunRecord.of(config, "prompts.jsonl", "m" * 64, model, "d" * 64, num_rows=12)


def test_the_first_invocation_is_run_json_and_later_ones_are_numbered(
    storage: LocalStorage,
) -> None:
    written = [write_run_record(storage, record(f"model-{number}")) for number in range(1, 4)]
    assert [entry.invocation for entry in written] == [1, 2, 3]
    assert sorted(storage.list()) == ["run.json", "runs/0002.json", "runs/0003.json"]
    assert json.loads(storage.read("run.json"))["model"] == {"name": "model-1", "digest": "d" * 64}
    assert read_run_record(storage) == written[-1]


def test_a_number_taken_meanwhile_is_passed_over(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run_record(storage, record())
    storage.create("runs/0002.json", b"theirs")
    monkeypatch.setattr(storage, "list", lambda prefix="": iter(()))
    assert write_run_record(storage, record()).invocation == 3
    assert storage.read("runs/0002.json") == b"theirs"


def test_it_says_what_ran(storage: LocalStorage) -> None:
    write_run_record(storage, record(b=[1, 2], a={"x": None}))
    plain = json.loads(storage.read("run.json"))
    assert plain["schema"] == 1
    assert plain["config"] == {"b": [1, 2], "a": {"x": None}}
    assert plain["config_sha256"] == hashlib.sha256(b'{"a":{"x":null},"b":[1,2]}').hexdigest()
    assert (plain["manifest_uri"], plain["num_rows"]) == ("prompts.jsonl", 12)
    assert set(plain["versions"]) == {"videogen", "torch"}


def test_the_digest_of_a_configuration_ignores_the_order_of_keys() -> None:
    assert config_sha256({"a": 1, "b": 2}) == config_sha256({"b": 2, "a": 1})
    assert config_sha256({"a": 1}) != config_sha256({"a": 2})


def test_a_folder_that_holds_no_run(storage: LocalStorage) -> None:
    with pytest.raises(StorageError, match=r"got no run\.json, expected a run directory\. Fix: "):
        read_run_record(storage)


def test_a_damaged_record_is_named(storage: LocalStorage) -> None:
    storage.create("run.json", b"{")
    with pytest.raises(StorageError, match=r"run\.json: got .* Fix: "):
        read_run_record(storage)
