"""What every test run shares: quiet Ray, repeatable property tests, and no accelerator demanded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from tests.processes import command_of, descendants
from tests.s3.proxy import FaultProxy
from tests.s3.server import S3Server, running_server

ROOT = Path(__file__).parents[1]
TOGETHER = ("unit", "parity", "distributed")
APART = ("cluster", "browser", "alone")
SOURCE_ROOTS = [ROOT, ROOT / "cluster", ROOT / "pipelines"]

# Set before anything imports Ray or transformers: both read their environment once.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

if "PYTEST_XDIST_WORKER" in os.environ:  # several of us share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A failure has to come back on the next run, so examples are derived from the test, not drawn.
# Wall-clock deadlines say more about a busy machine than about the code.
hypothesis.settings.register_profile("videogen", derandomize=True, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "videogen"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--thorough", action="store_true", help="chaos tests: more clips, and ten kills for a few"
    )


@pytest.fixture(scope="session")
def thorough(request: pytest.FixtureRequest) -> bool:
    """Whether chaos tests are as long as what they show is stated for; minutes more."""
    return bool(request.config.getoption("--thorough"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, never fail, what needs an accelerator on a machine that has none."""
    _check_folders(items)
    wanting = [item for item in items if item.get_closest_marker("gpu")]
    if wanting and not _has_accelerator():
        for item in wanting:
            item.add_marker(pytest.mark.skip(reason="needs an accelerator; torch sees none"))


def _check_folders(items: list[pytest.Item]) -> None:
    """Refuse tests where `make test` would not look for them."""
    for item in items:
        folder = item.path.relative_to(ROOT / "tests").parts[0]
        markers = {name for name in APART if item.get_closest_marker(name)}
        if folder in TOGETHER and markers:
            raise pytest.UsageError(
                f"{item.nodeid}: got the marker {', '.join(markers)} in tests/{folder}, expected "
                "it in a folder of its own. Fix: move the test to tests/cluster or tests/e2e."
            )


def _has_accelerator() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of random weights, small enough to make a clip in milliseconds."""
    from tests.tiny import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("tiny-model"))


@dataclass(frozen=True)
class Ended:
    """What a program left behind."""

    code: int
    out: str
    err: str


class Program:
    """The `videogen` program as a process of its own, started in `folder`."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._out, self._err = (folder / f"{time.monotonic_ns()}.{name}" for name in ("out", "err"))
        with self._out.open("wb") as out, self._err.open("wb") as err:
            # -P: this folder is the user's, and nothing in it is to be imported.
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "videogen_pipelines", *arguments],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, SOURCE_ROOTS))},
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def wait(self, timeout_s: float = 280.0) -> Ended:
        """Wait for its end; past the time it is killed and the test fails."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"no end after {timeout_s} s:\n{self._err.read_text()}")
        return Ended(code, self._out.read_text(), self._err.read_text())

    def wait_until(self, is_so: Callable[[], bool], timeout_s: float = 240.0) -> None:
        """Wait for something to become true while the program runs."""
        deadline = time.monotonic() + timeout_s
        while not is_so():
            assert self.process.poll() is None, f"ended early:\n{self._err.read_text()}"
            assert time.monotonic() < deadline, f"nothing happened:\n{self._err.read_text()}"
            time.sleep(0.01)

    def kill(self) -> None:
        """End it at once, as a crash would; its children are not told."""
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> None:
        """Ctrl-C: the terminal signals the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def family(self) -> dict[int, str]:
        """Process id -> command line of every process that it started and that still lives."""
        return {pid: command_of(pid) for pid in descendants(self.process.pid)}


@pytest.fixture
def start_program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start `videogen` with arguments; whatever still runs at the end of the test is killed."""
    started: list[Program] = []
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # In the background of a shell, tests ignore Ctrl-C, and programs would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def start(*arguments: object) -> Program:
        started.append(Program(tmp_path, *map(str, arguments)))
        return started[-1]

    yield start
    for program in started:
        if program.process.poll() is None:
            program.kill()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 server on loopback with one bucket, for the whole run: take a prefix of your own."""
    with running_server() as server:
        yield server


@pytest.fixture
def s3_env(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The same, with this process's environment (and its children's) pointing to it."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    return s3_server


@pytest.fixture
def fault_proxy(s3_env: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy before that server which the environment points to; it forwards until told else."""
    with FaultProxy(s3_env.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy
