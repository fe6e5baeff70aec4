"""A head's job server as far as tests ask: it runs nothing and remembers what it is sent."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class JobServer(ThreadingHTTPServer):
    """Jobs are running as soon as they are submitted, and until they are stopped."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token: str | None = None
        self.tokens_seen: list[str | None] = []
        self.packages: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    @property
    def _head(self) -> JobServer:
        assert isinstance(self.server, JobServer)
        return self.server

    def do_GET(self) -> None:
        if not self._may():
            return
        name = self.path.split("/")[-1]
        if self.path == "/api/version":
            self._say(200, {"ray_version": "2.60.0", "version": "4", "ray_commit": "x"})
        elif self.path == "/api/jobs/":
            self._say(200, list(self._head.jobs.values()))
        elif "/api/packages/" in self.path:
            self._say(200 if name in self._head.packages else 404, {})
        elif name == "logs":
            self._say(200, {"logs": "what it printed\n"})
        elif name in self._head.jobs:
            self._say(200, self._head.jobs[name])
        else:
            self._say(404, f"job {name} does not exist")

    def do_PUT(self) -> None:
        self._head.packages[self.path.rpartition("/")[2]] = self._body()
        self._say(200, {})

    def do_POST(self) -> None:
        if self.path.endswith("/stop"):
            self._head.jobs[self.path.split("/")[-2]]["status"] = "STOPPED"
            self._say(200, {"stopped": True})
            return
        asked = json.loads(self._body())
        name = asked["submission_id"]
        if name in self._head.jobs:
            self._say(500, f"Traceback ...\nValueError: Job {name} already exists")
            return
        self._head.jobs[name] = {
            **asked,
            "type": "SUBMISSION",
            "status": "RUNNING",
            "start_time": len(self._head.jobs),
        }
        self._say(200, {"job_id": name, "submission_id": name})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def _may(self) -> bool:
        said = self.headers.get("Authorization")
        self._head.tokens_seen.append(said)
        if self._head.token is None or said == f"Bearer {self._head.token}":
            return True
        if said is None:
            self._say(401, "Unauthorized: Missing authentication token")
        else:
            self._say(403, "Forbidden: Invalid authentication token")
        return False

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _say(self, code: int, content: Any) -> None:
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextlib.contextmanager
def running_job_server() -> Iterator[JobServer]:
    """A server on loopback that stops at the end."""
    with JobServer() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()
