"""As much of HTTP/1.1 as a call to the sidecar takes.

The standard library's http.client would do, but it imports TLS and the parsers of e-mail, which takes twice as long as
all else in this package, and a call with it takes almost three times the processor time of this one.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque

_HOST = "127.0.0.1"
_MOST_IDLE = 16
_MOST_HEADER = 64 * 1024


class NotHTTP(Exception):
    """What came is not an answer in HTTP."""


class Answer:
    """A whole answer. Names of headers are in lower case."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Connection:
    """A connection to the sidecar, used by one call at a time.

    Each method has until a time of time.monotonic(), and raises socket.timeout after it. Other OSErrors say that the
    connection broke.
    """

    def __init__(self, port: int, until: float) -> None:
        self.port = port
        self.pid = os.getpid()
        self.reusable = False
        self._buffer = bytearray()
        self._socket = socket.create_connection((_HOST, port), _left(until))
        # A connection to a port that nobody listens on can meet itself, if the system chose that port for its own end.
        if self._socket.getsockname() == self._socket.getpeername():
            self.close()
            raise ConnectionRefusedError(f"nothing listens on {_HOST}:{port}")
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._socket.close()

    def post(self, path: str, secret: str, body: bytes, until: float) -> Answer:
        self.reusable = False
        head = f"POST {path} HTTP/1.1\r\nHost: {_HOST}:{self.port}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        if secret:
            head += f"X-Idempotency-Auth: {secret}\r\n"
        self._socket.settimeout(_left(until))
        self._socket.sendall(head.encode() + b"\r\n" + body)
        return self._answer(until)

    def _answer(self, until: float) -> Answer:
        status = 100
        while 100 <= status < 200:  # Before the answer there may be others that only announce it.
            version, status, headers = self._head(until)
        ended_by_close = False
        if status in (204, 304):
            body = b""
        elif "transfer-encoding" in headers:
            if headers["transfer-encoding"].lower() != "chunked":
                raise NotHTTP(f"the transfer coding {headers['transfer-encoding']!r} was not asked for")
            body = self._chunks(until)
        elif "content-length" in headers:
            length = headers["content-length"]
            if not (length.isascii() and length.isdigit()):
                raise NotHTTP(f"the length {length!r} is no number")
            body = self._take(int(length), until)
        else:
            ended_by_close = True
            while self._more(until):
                pass
            body = self._take(len(self._buffer), until)
        says = headers.get("connection", "").lower()
        # Bytes that nobody asked for would be taken for the next answer.
        self.reusable = version == b"HTTP/1.1" and "close" not in says and not ended_by_close and not self._buffer
        return Answer(status, headers, body)

    def _head(self, until: float) -> tuple[bytes, int, dict[str, str]]:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _MOST_HEADER:
                raise NotHTTP("the header is too long")
            if not b"HTTP/1.".startswith(bytes(self._buffer[:7])):
                raise NotHTTP("the answer does not begin as one of HTTP/1.1 does")
            self._must(until)
        first, *lines = self._take(end + 4, until)[:-4].split(b"\r\n")
        version, _, rest = first.partition(b" ")
        if version not in (b"HTTP/1.1", b"HTTP/1.0") or not rest[:3].isdigit():
            raise NotHTTP("the answer does not begin as one of HTTP/1.1 does")
        headers = {}
        for line in lines:
            name, _, value = line.partition(b":")
            headers[name.decode("latin-1").lower()] = value.decode("latin-1").strip()
        return version, int(rest[:3]), headers

    def _chunks(self, until: float) -> bytes:
        body = bytearray()
        while True:
            size = self._line(until).partition(b";")[0].strip()
            try:
                length = int(size, 16)
            except ValueError:
                length = -1
            if length < 0:
                raise NotHTTP(f"the length {size!r} of a chunk is no number")
            if length == 0:
                break
            body += self._take(length, until)
            if self._line(until):
                raise NotHTTP("a chunk is longer than it says")
        while self._line(until):
            pass  # Headers after the body have nothing to say here.
        return bytes(body)

    def _line(self, until: float) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > _MOST_HEADER:
                raise NotHTTP("a line is too long")
            self._must(until)
        return self._take(end + 2, until)[:-2]

    def _take(self, n: int, until: float) -> bytes:
        while len(self._buffer) < n:
            self._must(until)
        with memoryview(self._buffer) as view:
            taken = bytes(view[:n])
        del self._buffer[:n]
        return taken

    def _must(self, until: float) -> None:
        if not self._more(until):
            raise ConnectionResetError("the connection was closed before the end of the answer")

    def _more(self, until: float) -> bool:
        self._socket.settimeout(_left(until))
        got = self._socket.recv(65536)
        self._buffer += got
        return bool(got)


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise socket.timeout("timed out")
    return left


class Pool:
    """Connections without a call, the last used first.

    A deque is safe to be used by many threads by itself. Without a lock, none can be held by a thread that a fork left
    behind.
    """

    def __init__(self) -> None:
        self._idle: deque[Connection] = deque()

    def take(self, port: int) -> Connection | None:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # Another thread was faster.
                break
            # After a fork, the parent goes on using what is open.
            if connection.pid == os.getpid() and connection.port == port:
                return connection
            connection.close()
        return None

    def put(self, connection: Connection) -> None:
        if connection.reusable and len(self._idle) < _MOST_IDLE:
            self._idle.append(connection)
        else:
            connection.close()

    def __del__(self) -> None:
        self.clear()

    def clear(self) -> None:
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                break
