"""An HTTP proxy before an S3 server that loses, delays, cuts and invents replies as it is told."""

from __future__ import annotations

import http.client
import random
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, Self
from urllib.parse import urlsplit

Action = Literal[
    "pass",  # forward; useful with `delay_s`, `before` and `after`
    "lose_reply",  # forward, then close the connection: it happened, and nobody says so
    "lose_request",  # close the connection: it did not happen
    "refuse",  # answer `status` with `code` without forwarding
    "truncate_request",  # forward half of the body, then close both connections
    "truncate_reply",  # promise the whole body, send half of it, close the connection
    "strip",  # forward without the header fields of conditions, as stores that ignore them
]
CODES = {
    400: "InvalidArgument",
    403: "AccessDenied",
    404: "NoSuchKey",
    409: "ConditionalRequestConflict",
    412: "PreconditionFailed",
    500: "InternalError",
    501: "NotImplemented",
    503: "SlowDown",
}
_CONDITIONS = ("if-match", "if-none-match")
_ONE_HOP = ("connection", "keep-alive", "transfer-encoding", "expect")


@dataclass
class Rule:
    """What happens to the next `times` requests that it fits, each with `probability`.

    `path` is searched for in path and query; `has_header` must be among the request's fields.
    `before` is called before the request is forwarded, `after` before its reply is returned.
    """

    action: Action = "pass"
    method: str | None = None
    path: str = ""
    has_header: str | None = None
    times: float = 1
    probability: float = 1.0
    status: int = 503
    code: str | None = None
    delay_s: float = 0.0
    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None
    used: int = field(default=0, init=False)

    def fits(self, request: BaseHTTPRequestHandler) -> bool:
        return (
            self.used < self.times
            and self.method in (None, request.command)
            and re.search(self.path, request.path) is not None
            and (self.has_header is None or self.has_header in request.headers)
        )

    @property
    def name(self) -> str:
        return f"refuse {self.status}" if self.action == "refuse" else self.action


class FaultProxy:
    """Forwards to `upstream`; the first rule that fits a request decides what becomes of it.

    Attributes:
        counts: how often each action was taken ("refuse 503", "lose_reply", …).
        requests: the latest requests as (method, path with query).
    """

    def __init__(self, upstream: str, seed: int = 0) -> None:
        self.upstream = urlsplit(upstream)
        self.counts: Counter[str] = Counter()
        self.requests: deque[tuple[str, str]] = deque(maxlen=100_000)
        self._rules: list[Rule] = []
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._is_cut = False
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(self, action: Action = "pass", **options: object) -> Rule:
        """Add a rule behind the others; see `Rule` for the options."""
        rule = Rule(action, **options)  # type: ignore[arg-type]
        with self._lock:
            self._rules.append(rule)
        return rule

    def add_weather(self, rate: float, delay_s: float = 0.5) -> None:
        """Let a share `rate` of all requests end in a 503, a lost reply or a delay."""
        for action in ("refuse", "lose_reply"):
            self.add(action, times=float("inf"), probability=rate / 3)
        self.add("pass", times=float("inf"), probability=rate / 3, delay_s=delay_s)

    def clear(self) -> None:
        """Forget all rules; the counts stay."""
        with self._lock:
            self._rules.clear()

    def cut(self) -> None:
        """Close every connection at its next request, until `mend`: the network is gone."""
        self._is_cut = True

    def mend(self) -> None:
        self._is_cut = False

    def count(self, method: str, path: str = "") -> int:
        """How many requests of `method` came whose path and query `path` is found in."""
        with self._lock:
            return sum(m == method and re.search(path, p) is not None for m, p in self.requests)

    def choose(self, request: BaseHTTPRequestHandler) -> Rule:
        """The rule for this request, counted."""
        with self._lock:
            self.requests.append((request.command, request.path))
            rule = Rule("lose_request") if self._is_cut else self._first_rule(request)
            rule.used += 1
            delayed = rule.action == "pass" and rule.delay_s > 0
            self.counts["delay" if delayed else rule.name] += 1
            return rule

    def _first_rule(self, request: BaseHTTPRequestHandler) -> Rule:
        for rule in self._rules:
            if rule.fits(request) and self._random.random() < rule.probability:
                return rule
        return Rule()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    proxy: FaultProxy

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 120

    @property
    def _proxy(self) -> FaultProxy:
        assert isinstance(self.server, _Server)
        return self.server.proxy

    def do_GET(self) -> None:
        body = self._body()
        rule = self._proxy.choose(self)
        if rule.before:
            rule.before()
        time.sleep(rule.delay_s)
        if rule.action == "refuse":
            self._refuse(rule)
        elif rule.action == "lose_request":
            self._hang_up()
        elif rule.action == "truncate_request":
            self._forward_half(body)
            self._hang_up()
        else:
            self._forward(rule, body)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Tests look at the counts."""

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _forward(self, rule: Rule, body: bytes) -> None:
        skipped = _ONE_HOP + (_CONDITIONS if rule.action == "strip" else ())
        upstream = self._proxy.upstream
        connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=60)
        try:
            self._send_request(connection, skipped, len(body))
            connection.send(body)
            reply = connection.getresponse()
            content = reply.read()
        except OSError:
            self._hang_up()  # the server is gone
            return
        finally:
            connection.close()
        if rule.after:
            rule.after()
        if rule.action == "lose_reply":
            self._hang_up()
            return
        self._reply(reply, content, half=rule.action == "truncate_reply")

    def _send_request(
        self, connection: http.client.HTTPConnection, skipped: tuple[str, ...], length: int
    ) -> None:
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in (*skipped, "content-length"):
                connection.putheader(name, value)
        if length or self.command in ("PUT", "POST"):
            connection.putheader("Content-Length", str(length))
        connection.endheaders()

    def _forward_half(self, body: bytes) -> None:
        upstream = self._proxy.upstream
        connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=60)
        self._send_request(connection, _ONE_HOP, len(body))
        connection.send(body[: len(body) // 2])
        connection.close()

    def _reply(self, reply: http.client.HTTPResponse, content: bytes, half: bool) -> None:
        self.send_response_only(reply.status, reply.reason)
        for name, value in reply.getheaders():
            if name.lower() not in (*_ONE_HOP, "content-length"):
                self.send_header(name, value)
        length = reply.getheader("Content-Length") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if half else content)
        if half:
            self._hang_up()

    def _refuse(self, rule: Rule) -> None:
        code = rule.code or CODES[rule.status]
        text = f"<Error><Code>{code}</Code><Message>as told by the test</Message></Error>"
        content = b"" if self.command == "HEAD" else text.encode()
        self.send_response_only(rule.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.close()
