"""Every point between two writes of the protocol × what can happen to a request × two writers.

Against S3 over HTTP. A crash is an exception that nothing catches, raised right after a write, by a
writer that writes nothing more. Another writer's whole run fits between a request and its reply.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.s3.proxy import FaultProxy
from tests.s3.server import S3Server
from tests.unit.videogen_pipelines.conftest import FakeClips
from videogen.errors import StorageError
from videogen.storage import LockLostError, Storage
from videogen.storage.s3 import Capabilities, S3Options, S3Storage
from videogen.storage.s3.requests import Requests
from videogen_pipelines.commit import commit_clip, store_attempt
from videogen_pipelines.keys import clip_key, meta_key
from videogen_pipelines.ledger import read_done
from videogen_pipelines.results import ResultRow, RunCounts
from videogen_pipelines.run_directory import RunDirectory
from videogen_pipelines.run_record import RunRecord
from videogen_pipelines.sidecar import read_sidecar
from videogen_pipelines.verification.verifier import verify_run

pytestmark = pytest.mark.chaos

RECORD = RunRecord.of({"schema": 1}, "prompts.jsonl", "m" * 64, "tiny", "d" * 64)
QUICK = S3Options(
    connect_timeout_s=2,
    read_timeout_s=10,
    max_attempts=1,
    give_up_s=5,
    backoff_base_s=0.005,
    backoff_cap_s=0.02,
    renew_s=0.1,
    ttl_s=4.0,
    settle_s=0.05,
)
ENFORCES = Capabilities(create_only=True, compare_and_swap=True)
BAD = "bad"

FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "nothing": ("pass", {}),
    "reply lost": ("lose_reply", {}),
    "503": ("refuse", {"status": 503}),
    "409": ("refuse", {"status": 409}),
    "412": ("refuse", {"status": 412}),
    "truncated body": ("truncate_request", {}),
}
RANK_POINTS = {"clip": "clips/", "sidecar": "meta/"}
COORDINATOR_POINTS = {
    "record": "run.json",
    "ledger": "ledger/",
    "results": "results/",
    "success": "_SUCCESS",
}


def modes_of(fault: str) -> list[str]:
    """What else happens: a crash right after the write, or all of another writer around it."""
    is_forwarded = FAULTS[fault][0] in ("pass", "lose_reply")
    return ["alone", "crash", "other before", *(["other after"] if is_forwarded else [])]


class Crash(BaseException):
    """The process is gone."""


class Lease:
    """A lock that is lost at once when another coordinator begins."""

    owner = "a test"

    def __init__(self) -> None:
        self.is_lost = False

    def check(self) -> None:
        if self.is_lost:
            raise LockLostError("taken")


class Mortal(S3Storage):
    """A store whose user dies right after a write below `dies_at`; the dead write nothing."""

    def __init__(self, uri: str, dies_at: str | None = None) -> None:
        super().__init__(uri, QUICK, ENFORCES)
        self.dies_at = dies_at
        self.is_dead = False
        self.lease = Lease()

    def create(self, key: str, data: bytes | Path, metadata: Any = None) -> bool:
        return self._living(key, lambda: super(Mortal, self).create(key, data, metadata))

    def put(self, key: str, data: bytes | Path) -> None:
        self._living(key, lambda: super(Mortal, self).put(key, data))

    def delete(self, key: str) -> None:
        self._living("", lambda: super(Mortal, self).delete(key))

    @contextmanager
    def lock(self, name: str = ".lock", *, wait: bool = True) -> Iterator[Lease]:
        yield self.lease

    def _living(self, key: str, write: Callable[[], Any]) -> Any:
        if self.is_dead:
            raise Crash
        result = write()
        if self.dies_at is not None and key.startswith(self.dies_at):
            self.is_dead = True
            raise Crash
        return result


class Store:
    """A prefix of its own: `mortal` writers pass the proxy, `direct` ones do not."""

    def __init__(self, uri: str, proxied: Requests, direct: Requests) -> None:
        self.uri = uri
        self._proxied = proxied
        self._direct = direct
        self.direct = self._with(direct)

    def mortal(self, dies_at: str | None = None) -> Mortal:
        return self._with(self._proxied, dies_at)

    def below(self, name: str) -> Store:
        return Store(f"{self.uri}/{name.replace(' ', '-')}", self._proxied, self._direct)

    def _with(self, requests: Requests, dies_at: str | None = None) -> Mortal:
        """Clients are slow to make, so all storages here share two of them."""
        storage = Mortal(self.uri, dies_at)
        storage._requests = requests
        return storage


@pytest.fixture(scope="module")
def direct(s3_server: S3Server) -> Requests:
    return made_for(s3_server.environment())


@pytest.fixture(scope="module")
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def proxied(s3_server: S3Server, proxy: FaultProxy) -> Requests:
    return made_for(s3_server.environment(proxy.endpoint))


def made_for(environment: dict[str, str]) -> Requests:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        requests = Mortal("s3://videogen-tests/any")._requests
        assert requests.client is not None
    return requests


@pytest.fixture
def store(
    s3_server: S3Server, proxy: FaultProxy, proxied: Requests, direct: Requests
) -> Iterator[Store]:
    yield Store(s3_server.uri(), proxied, direct)
    proxy.clear()


@pytest.fixture
def clips_of(tmp_path: Path) -> Callable[[str], FakeClips]:
    """A writer's own encoder and files; its clips differ from everybody else's."""

    def make(who: str) -> FakeClips:
        folder = tmp_path / who
        folder.mkdir()
        return FakeClips(folder)

    return make


def schedule(
    proxy: FaultProxy, point: str, fault: str, mode: str, other: Callable[[], object]
) -> None:
    """Let `fault` happen to the next write at `point`, with all of `other` before or after it."""
    action, options = FAULTS[fault]
    hooks = {"other before": {"before": other}, "other after": {"after": other}}.get(mode, {})
    proxy.add(action, method="PUT", path=f"/{point}", **options, **hooks)


def commit(storage: Storage, clips: FakeClips, name: str, who: str) -> dict[str, Any]:
    provenance = clips.provenance(name)
    path = clips.file(provenance, noise=who)  # as if no encoder were deterministic
    publish = commit_clip if storage.conditional_writes else store_attempt
    return publish(storage, path, provenance, clips.inspect).outcome()


def coordinate(storage: S3Storage, clips: FakeClips, names: list[str], who: str) -> RunCounts:
    """What `generate` does, with a rank in this process; the row BAD fails every time."""
    plan = {name: clips.provenance(name) for name in (*names, BAD)}
    with RunDirectory(storage) as run:
        run.initialise(RECORD)
        committed = run.committed()
        run.check_conflicts(((name, p.clip_id) for name, p in plan.items()), committed)
        run.adopt_orphans(committed, plan.get, clips.inspect)
        run.withdraw_success()
        for name in names:
            if name not in committed:
                run.record_done(commit(storage, clips, name, who))
        run.record_failure(BAD, "non_finite", "NaN", 2)
        run.flush()
        return run.finish(ResultRow(name, p.clip_id, p.request) for name, p in plan.items())


def expect_exactly_once(storage: S3Storage, names: list[str]) -> None:
    """One clip and one sidecar a row, the bytes those of the sidecar, the ledger within them."""
    assert sorted(storage.list("clips/")) == sorted(map(clip_key, names))
    assert sorted(storage.list("meta/")) == sorted(map(meta_key, names))
    for name in names:
        content = storage.read(clip_key(name))
        assert read_sidecar(storage, name).sha256 == hashlib.sha256(content).hexdigest(), name
    assert set(read_done(storage)) <= set(names)


@pytest.mark.parametrize("fault", FAULTS)
def test_ranks(
    store: Store, proxy: FaultProxy, clips_of: Callable[[str], FakeClips], fault: str
) -> None:
    """Two ranks make the same clip; the first may die on the way."""
    ours, theirs = clips_of("ours"), clips_of("theirs")
    names: list[str] = []
    for point, prefix in RANK_POINTS.items():
        for mode in modes_of(fault):
            name = f"{point}-{mode.replace(' ', '-')}"
            names.append(name)
            other = partial(commit, store.direct, theirs, name, "theirs")
            schedule(proxy, prefix, fault, mode, other)
            if mode == "crash":
                with pytest.raises(Crash):
                    commit(store.mortal(prefix), ours, name, "ours")
            else:
                record = commit(store.mortal(), ours, name, "ours")
                stored = store.direct.read(clip_key(name))
                assert record["sha256"] == hashlib.sha256(stored).hexdigest(), name
    assert set(names) == {name for name in names if store.direct.exists(clip_key(name))}
    counts = coordinate(store.direct, theirs, names, "late")
    assert counts == RunCounts(rows=len(names) + 1, done=len(names), failed=1)
    expect_exactly_once(store.direct, names)
    for name in names:  # nothing that was stored was made again
        assert b"late" not in store.direct.read(clip_key(name))
    assert verify_run(store.direct, inspect=ours.inspect).proven


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("point", COORDINATOR_POINTS)
def test_coordinators(
    store: Store,
    proxy: FaultProxy,
    clips_of: Callable[[str], FakeClips],
    point: str,
    fault: str,
) -> None:
    """One dies, or is overtaken between its look at the lock and its write; another goes on."""
    ours, theirs = clips_of("ours"), clips_of("theirs")
    prefix = COORDINATOR_POINTS[point]
    for mode in modes_of(fault)[1:]:  # before it dies, it is alone as well
        here = store.below(mode)
        mortal = here.mortal(prefix if mode == "crash" else None)

        def take_over(here: Store = here, mortal: Mortal = mortal) -> None:
            coordinate(here.direct, theirs, ["a"], "theirs")
            mortal.lease.is_lost = True

        schedule(proxy, prefix, fault, mode, take_over)
        with suppress(*_endings(point, fault, mode)):
            assert coordinate(mortal, ours, ["a"], "ours").done == 1
        proxy.clear()
        first = [here.direct.read(key) for key in here.direct.list("clips/")]
        assert len(first) <= 1
        assert coordinate(here.direct, theirs, ["a"], "late").done == 1
        assert list(here.direct.list("clips/")) == [clip_key("a")]
        assert first in ([], [here.direct.read(clip_key("a"))]), "a stored clip was made again"
        report = verify_run(here.direct, inspect=ours.inspect)
        assert report.proven, (mode, report.violations)


def _endings(point: str, fault: str, mode: str) -> tuple[type[BaseException], ...]:
    """How the first coordinator may end other than well."""
    # No store refuses a write that has no condition like this; should one do so, the run ends.
    is_refused = fault == "412" and point == "results"
    died = (Crash,) if mode == "crash" else ()
    overtaken = (LockLostError,) if mode.startswith("other") and point != "success" else ()
    return (*died, *overtaken, *((StorageError,) if is_refused else ()))


@pytest.mark.parametrize("fault", FAULTS)
def test_leases(
    s3_env: S3Server,
    fault_proxy: FaultProxy,
    clips_of: Callable[[str], FakeClips],
    fault: str,
) -> None:
    """Whatever happens to the first write of a lease, one coordinator holds it and finishes."""
    clips = clips_of("ours")
    storage = S3Storage(s3_env.uri(), QUICK, ENFORCES)
    schedule(fault_proxy, "lease.json", fault, "alone", lambda: None)
    assert coordinate(storage, clips, ["a"], "ours").done == 1
    assert coordinate(storage, clips, ["a"], "late").done == 1  # and it was freed
    expect_exactly_once(storage, ["a"])


def test_a_coordinator_that_falls_silent_is_overtaken_and_stops(
    s3_env: S3Server,
    fault_proxy: FaultProxy,
    clips_of: Callable[[str], FakeClips],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With real leases: a frozen process wakes up to find that the run is finished."""
    ours, theirs = clips_of("ours"), clips_of("theirs")
    uri = s3_env.uri()
    other = S3Storage(uri, QUICK, ENFORCES)  # it looks for the store at its first use
    lost = pytest.raises(LockLostError, match="took over")
    with lost, RunDirectory(S3Storage(uri, QUICK, ENFORCES)) as frozen:
        frozen.initialise(RECORD)
        frozen.record_done(commit(frozen.storage, ours, "a", "ours"))
        frozen.check_lock()
        fault_proxy.add("lose_request", path="lease.json", times=float("inf"))
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3_env.endpoint)
        assert coordinate(other, theirs, ["a"], "theirs").done == 1
        frozen.finish([])
    expect_exactly_once(other, ["a"])
    assert b"ours" in other.read(clip_key("a"))
    assert verify_run(other, inspect=ours.inspect).proven


@pytest.mark.parametrize("fault", ["nothing", "reply lost", "truncated body"])
@pytest.mark.parametrize("point", RANK_POINTS)
def test_a_store_that_ignores_conditions(
    s3_env: S3Server,
    fault_proxy: FaultProxy,
    clips_of: Callable[[str], FakeClips],
    point: str,
    fault: str,
) -> None:
    """One process commits: attempts that nobody heard of are adopted or removed, never served."""
    clips = clips_of("ours")
    storage = S3Storage(s3_env.uri(), QUICK, Capabilities(False, False))
    lost = commit(storage, clips, "a", "a rank whose coordinator died")
    commit(storage, clips, "b", "a rank that hangs and is replaced")
    action, options = FAULTS[fault]
    fault_proxy.add(action, method="PUT", path=f"/{RANK_POINTS[point]}", **options)
    fault_proxy.add("strip", method="PUT", times=float("inf"))
    assert coordinate(storage, clips, ["a", "b", "c"], "ours").done == 3
    commit(storage, clips, "c", "a zombie")  # its clip is committed, so nothing is stored
    assert read_sidecar(storage, "a").key == lost["key"]
    keys = sorted(read_sidecar(storage, name).key for name in "abc")
    assert sorted(storage.list("clips/")) == keys
    assert verify_run(storage, inspect=clips.inspect).proven
