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
# Half of how much later than its time an operation may end.
_MOMENT_S = 0.01


class NotHTTP(Exception):
    """What came is not an answer in HTTP."""


def header(head: bytes, name: bytes) -> bytes | None:
    """The value of a header; None if there is none. All are in lower case."""
    # Few are asked for: to look for these takes less than to parse all.
    _, found, after = head.partition(b"\r\n" + name + b":")
    return after.partition(b"\r\n")[0].strip() if found else None


class Connection:
    """A connection to the sidecar, used by one call at a time.

    Each method has until a time of time.monotonic(), and raises socket.timeout after it. Other OSErrors say that the
    connection broke.
    """

    def __init__(self, port: int, until: float) -> None:
        self.port = port
        self.pid = os.getpid()
        self.reusable = False
        self._fresh = True
        self._begin = f" HTTP/1.1\r\nHost: {_HOST}:{port}\r\nContent-Type: application/json\r\n"
        self._rest = b""
        """What came and was not yet taken."""
        # If no time is left, the call's first operation says so.
        self._timeout = max(until - time.monotonic(), _MOMENT_S)
        self._socket = socket.create_connection((_HOST, port), self._timeout)
        # A connection to a port that nobody listens on can meet itself, if the system chose that port for its own end.
        if self._socket.getsockname() == self._socket.getpeername():
            self.close()
            raise ConnectionRefusedError(f"nothing listens on {_HOST}:{port}")
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._socket.close()

    def post(self, path: str, secret: str, body: bytes, until: float) -> tuple[int, bytes, bytes]:
        """The status, the head in lower case, and the body of the answer."""
        self.reusable = False
        fresh, self._fresh = self._fresh, False
        auth = f"X-Idempotency-Auth: {secret}\r\n" if secret else ""
        head = f"POST {path}{self._begin}{auth}Content-Length: {len(body)}\r\n\r\n"
        self._limit(until)
        try:
            self._socket.sendall(head.encode() + body)
        except socket.timeout:
            raise
        except OSError as broke:
            if not fresh:
                raise  # What can be read may be what the server said before it closed an idle connection.
            return self._refusal(until, broke)
        self._more(until)
        return self._answer(until)

    def _refusal(self, until: float, broke: OSError) -> tuple[int, bytes, bytes]:
        """The answer that came before all was sent: a server that refuses a request need not take in the rest of it."""
        try:
            refused = self._answer(until)
        except (OSError, NotHTTP):
            raise broke from None
        self.reusable = False
        if refused[0] < 400:
            raise broke
        return refused

    def _answer(self, until: float) -> tuple[int, bytes, bytes]:
        status = 100
        while 100 <= status < 200:  # Before the answer there may be others that only announce it.
            while (end := self._rest.find(b"\r\n\r\n")) < 0:
                self._more_head(until)
            head, self._rest = self._rest[: end + 2], self._rest[end + 4 :]
            if not head.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")) or not head[9:12].isdigit():
                raise NotHTTP("the answer does not begin as one of HTTP/1.1 does")
            status = int(head[9:12])
        head = head.lower()
        closes = not head.startswith(b"http/1.1")
        if b"\r\nconnection:" in head:
            closes |= b"close" in (header(head, b"connection") or b"")
        if status in (204, 304):
            body = b""
        elif b"\r\ntransfer-encoding:" in head:
            coding = header(head, b"transfer-encoding")
            if coding != b"chunked":
                raise NotHTTP(f"the transfer coding {coding!r} was not asked for")
            body = self._chunks(until)
        elif (length := header(head, b"content-length")) is not None:
            if not length.isdigit() or len(length) > 18:  # Of many digits, int makes a ValueError.
                raise NotHTTP(f"the length {length!r} is no number")
            body = self._take(int(length), until)
        else:
            closes = True
            while self._more(until):
                pass
            body = self._take(len(self._rest), until)
        # Bytes that nobody asked for would be taken for the next answer.
        self.reusable = not closes and not self._rest
        return status, head, body

    def _more_head(self, until: float) -> None:
        if len(self._rest) > _MOST_HEADER:
            raise NotHTTP("the header is too long")
        if not b"HTTP/1.".startswith(self._rest[:7]):
            raise NotHTTP("the answer does not begin as one of HTTP/1.1 does")
        self._must(until)

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
        while (end := self._rest.find(b"\r\n")) < 0:
            if len(self._rest) > _MOST_HEADER:
                raise NotHTTP("a line is too long")
            self._must(until)
        return self._take(end + 2, until)[:-2]

    def _take(self, n: int, until: float) -> bytes:
        if len(self._rest) < n:
            # What is long comes in many parts, which are not to be put together anew with each.
            parts = [self._rest]
            missing = n - len(self._rest)
            while missing > 0:
                self._rest = b""
                self._must(until)
                parts.append(self._rest)
                missing -= len(self._rest)
            self._rest = b"".join(parts)
        taken = self._rest[:n]
        self._rest = self._rest[n:]
        return taken

    def _must(self, until: float) -> None:
        if not self._more(until):
            raise ConnectionResetError("the connection was closed before the end of the answer")

    def _more(self, until: float) -> bool:
        self._limit(until)
        got = self._socket.recv(65536)
        self._rest += got
        return bool(got)

    def _limit(self, until: float) -> None:
        """Makes the next operation end in time, or a moment later: each change is a call to the system, and most need none."""
        left = until - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")
        if not left <= self._timeout < left + 2 * _MOMENT_S:
            self._timeout = left + _MOMENT_S
            self._socket.settimeout(self._timeout)


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
