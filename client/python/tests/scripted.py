"""A server that answers by a script, byte for byte, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any, Union


class Drop:
    """Says that the connection is closed after these bytes of an answer."""

    def __init__(self, after: bytes = b"") -> None:
        self.after = after


DROP = Drop()
Scripted = Union[bytes, "list[bytes]", Drop]
"""The bytes of an answer; a list of them is sent in as many parts."""


class Request:
    def __init__(self, connection: int, head: bytes, body: bytes) -> None:
        self.connection = connection
        """Which of the server's connections it came on."""
        first, *lines = head.decode().split("\r\n")
        self.method, self.path, self.version = first.split(" ")
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        self.body: dict[str, Any] = json.loads(body)


class Server:
    """Gives one answer of the script to each request, in turn. A request beyond the script is remembered and dropped."""

    def __init__(self, script: list[Scripted]) -> None:
        self._script = list(script)
        self.requests: list[Request] = []
        self._connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection, len(self._connections)), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with connection, contextlib.suppress(OSError):
            while (request := self._read(connection, number)) is not None:
                self.requests.append(request)
                answer = self._script.pop(0) if self._script else DROP
                if isinstance(answer, Drop):
                    connection.sendall(answer.after)
                    return
                for part in [answer] if isinstance(answer, bytes) else answer:
                    connection.sendall(part)
                if b"connection: close" in (answer if isinstance(answer, bytes) else b"".join(answer)).lower():
                    return

    def _read(self, connection: socket.socket, number: int) -> Request | None:
        got = b""
        while b"\r\n\r\n" not in got:
            more = connection.recv(65536)
            if not more:
                return None
            got += more
        head, _, body = got.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += connection.recv(65536)
        return Request(number, head, body)

    def close(self) -> None:
        # A shutdown wakes accept; a close alone does not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


@contextlib.contextmanager
def serve(*script: Scripted) -> Iterator[Server]:
    server = Server(list(script))
    try:
        yield server
    finally:
        server.close()


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> bytes:
    """An answer as the sidecar gives it. A body that is a str goes as it is, any other as JSON."""
    text = (body if isinstance(body, str) else json.dumps(body)).encode()
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    kind = "application/json" if status == 200 else "application/problem+json"
    return f"HTTP/1.1 {status} Whatever\r\nContent-Type: {kind}\r\n{lines}Content-Length: {len(text)}\r\n\r\n".encode() + text


ACQUIRED = {"status": "acquired", "token": "t1", "fence": 5, "attempt": 1, "lease_expires_at": 1}
COMPLETED = {"status": "completed"}


def problem(status: int, code: str, detail: str = "what is wrong", headers: dict[str, str] | None = None) -> bytes:
    body = {"type": "about:blank", "title": "Whatever", "status": status, "code": code, "detail": detail}
    return answer(body, status, headers)
