"""The HTTP that the client speaks, byte by byte."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

import pytest

import lambda_idempotency.client
from lambda_idempotency import Client, ProblemError, UnavailableError
from lambda_idempotency.connection import Connection, Pool

from .program import free_port
from .scripted import ACQUIRED, COMPLETED, DROP, Drop, answer, problem, serve


def test_one_connection_serves_all_calls() -> None:
    with serve(answer(ACQUIRED), answer(COMPLETED), problem(400, "key_missing"), answer(ACQUIRED)) as server:
        client = Client(port=server.port)
        client.complete(client.acquire("a").token, 1)
        with pytest.raises(ProblemError):
            client.acquire("b")
        client.acquire("c")
        client.close()
    assert [request.connection for request in server.requests] == [1, 1, 1, 1]


def test_a_request_as_it_is_sent() -> None:
    with serve(answer(ACQUIRED)) as server:
        Client(port=server.port, auth_token="secret").acquire("ключ")
    (request,) = server.requests
    assert (request.method, request.path, request.version) == ("POST", "/acquire", "HTTP/1.1")
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-idempotency-auth"] == "secret"
    assert request.body["key"] == "ключ"


BODY = b'{"status": "completed", "result": "\xc3\xa9"}'
LENGTH = str(len(BODY)).encode()
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: " + LENGTH + b"\r\n\r\n" + BODY


@pytest.mark.parametrize(
    ("sent", "reused"),
    [
        pytest.param([bytes([byte]) for byte in WHOLE], True, id="byte by byte"),
        pytest.param([b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", WHOLE], True, id="after announcements"),
        pytest.param([b"HTTP/1.1 200\r\nCONTENT-LENGTH:" + LENGTH + b"\r\n\r\n", BODY], True, id="without a reason or space"),
        pytest.param(
            [
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"1\r\n" + BODY[:1] + b"\r\n",
                b"%X;x=y\r\n" % (len(BODY) - 1),
                BODY[1:] + b"\r",
                b"\n0\r\nTrailer: x\r\n",
                b"\r\n",
            ],
            True,
            id="in chunks",
        ),
        pytest.param([WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)], False, id="and closes"),
        pytest.param([b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY], False, id="ended by the close"),
        pytest.param([WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0", 1)], False, id="HTTP/1.0"),
        pytest.param([WHOLE + b"more"], False, id="with more than was asked for"),
    ],
)
def test_an_answer(sent: list[bytes], reused: bool) -> None:
    with serve(sent, answer(ACQUIRED)) as server:
        client = Client(port=server.port)
        assert client.acquire("a").result == "é"
        client.acquire("b")
        client.close()
    assert [request.connection for request in server.requests] == [1, 1 if reused else 2]


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
        answer("[]"),
        answer("nonsense"),
        answer({"status": "acquired"}),
        answer({}),
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
    ids=range(14),
)
def test_something_that_is_not_the_sidecar(sent: bytes) -> None:
    with serve(sent) as server, pytest.raises(ProblemError) as caught:
        Client(port=server.port).acquire("a")
    assert type(caught.value) is ProblemError
    assert caught.value.code == ""
    assert len(server.requests) == 1


@pytest.mark.parametrize("cut", [1, 12, 30, len(WHOLE) - 1])
def test_a_connection_that_breaks_within_an_answer(cut: int) -> None:
    with serve(Drop(WHOLE[:cut]), answer(ACQUIRED)) as server:
        assert Client(port=server.port).acquire("a").token == "t1"
    assert [request.connection for request in server.requests] == [1, 2]
    assert server.requests[0].body == server.requests[1].body


def test_the_second_try_takes_no_other_connection_that_may_have_broken() -> None:
    both = threading.Barrier(2)
    with serve(answer(ACQUIRED), answer(ACQUIRED), DROP, answer(COMPLETED)) as server:
        client = Client(port=server.port)
        pool = client._pool

        class Slow(Pool):
            def put(self, connection: Connection) -> None:
                both.wait(30)
                pool.put(connection)

        client._pool = Slow()
        threads = [threading.Thread(target=client.acquire, args=("a",)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client._pool = pool
        assert len(pool._idle) == 2
        client.complete("t1")
        client.close()
    assert server.requests[3].connection == 3


def test_no_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambda_idempotency.client, "_TIMEOUT_S", 0.05)
    with serve(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n") as server:
        client = Client(port=server.port)
        with pytest.raises(UnavailableError, match=r"did not answer /complete within 0\.05 s") as caught:
            client.complete("t1")
    assert caught.value.code == ""
    # What may still be under way is not sent again.
    assert len(server.requests) == 1


def test_an_answer_that_comes_too_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambda_idempotency.client, "_TIMEOUT_S", 0.1)
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while True:
                connection.sendall(b" ")
                time.sleep(0.01)

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    with listener, pytest.raises(UnavailableError, match=r"within 0\.1 s"):
        Client(port=listener.getsockname()[1]).acquire("a")
    thread.join(30)
    assert not thread.is_alive()


def test_a_longer_wait_after_a_shorter_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambda_idempotency.client, "_TIMEOUT_S", 0.5)
    limits = []
    limit = Connection._limit

    def noted(self: Connection, until: float) -> None:
        limit(self, until)
        limits.append(self._socket.gettimeout())

    monkeypatch.setattr(Connection, "_limit", noted)
    with serve(*[answer(ACQUIRED)] * 3) as server:
        client = Client(port=server.port)
        for wait in (0, 60, 0):
            client.acquire("a", wait=wait)
        client.close()
    # One connection, whose limit follows each call's.
    assert [request.connection for request in server.requests] == [1, 1, 1]
    assert [60 < (limit or 0) < 61 for limit in limits[1::2]] == [False, True, False]


def test_the_wait_is_added_to_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambda_idempotency.client, "_TIMEOUT_S", 0.05)
    with serve(b"HTTP/1.1") as server, pytest.raises(UnavailableError, match=r"within 0\.15 s"):
        Client(port=server.port).acquire("a", wait=0.1)


def test_no_sidecar() -> None:
    with pytest.raises(UnavailableError, match="is the layer attached, or the local server started") as caught:
        Client(port=free_port()).acquire("a")
    assert (caught.value.code, caught.value.status, caught.value.retry_after) == ("", 0, None)


def test_a_connection_that_meets_itself_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def meet_itself(address: tuple[str, int], timeout: float) -> socket.socket:
        met = socket.socket()
        met.bind(address)
        met.connect(address)
        return met

    monkeypatch.setattr(socket, "create_connection", meet_itself)
    with pytest.raises(UnavailableError, match="is the layer attached, or the local server started"):
        Client(port=free_port()).acquire("a")


@pytest.mark.parametrize("port", ["27 74", "0", "65536", "x", "-1"])
def test_a_port_that_is_none(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("IDEMPOTENCY_PORT", port)
    with pytest.raises(ValueError, match="IDEMPOTENCY_PORT"):
        Client().acquire("a")


@pytest.mark.parametrize(
    ("names", "sent"),
    [
        (("IDEMPOTENCY_AUTH_TOKEN", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"), "IDEMPOTENCY_AUTH_TOKEN"),
        (("AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"), "AWS_SESSION_TOKEN"),
        (("AWS_CONTAINER_AUTHORIZATION_TOKEN",), "AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        ((), None),
    ],
)
def test_where_the_secret_is_from(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], sent: str | None) -> None:
    with serve(answer(ACQUIRED)) as server:
        client = Client(port=server.port)
        for name in names:  # Set after the client was made: it is read at each call.
            monkeypatch.setenv(name, name)
        client.acquire("a")
        client.close()
    assert server.requests[0].headers.get("x-idempotency-auth") == sent


def test_an_environment_that_takes_the_place_of_the_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(answer(ACQUIRED), answer(ACQUIRED)) as server:
        client = Client()
        monkeypatch.setenv("IDEMPOTENCY_AUTH_TOKEN", "schlüssel")
        monkeypatch.setenv("IDEMPOTENCY_PORT", str(server.port))
        client.acquire("a")
        monkeypatch.setattr(os, "environ", {"AWS_SESSION_TOKEN": "other", "IDEMPOTENCY_PORT": str(server.port)})
        client.acquire("a")
        client.close()
    assert [request.headers["x-idempotency-auth"] for request in server.requests] == ["schlüssel", "other"]


def test_settings_where_python_keeps_them_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambda_idempotency.client, "_kept", None)
    monkeypatch.setenv("IDEMPOTENCY_SCOPE", "é")
    assert [lambda_idempotency.client.setting(name) for name in (b"IDEMPOTENCY_SCOPE", b"IDEMPOTENCY_PORT")] == ["é", ""]


def test_a_secret_cannot_add_headers() -> None:
    with pytest.raises(ValueError, match="line break"):
        Client(port=1, auth_token="x\r\nHost: elsewhere").acquire("a")


def test_proxies_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with serve(answer(ACQUIRED)) as server:
        Client(port=server.port).acquire("a")
    assert len(server.requests) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_leaves_the_connection_to_the_parent() -> None:
    with serve(*[answer(ACQUIRED)] * 3) as server:
        client = Client(port=server.port)
        client.acquire("parent")
        child = os.fork()
        if child == 0:
            try:
                client.acquire("child")
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        client.acquire("parent")
        client.close()
    assert [(request.body["key"], request.connection) for request in server.requests] == [("parent", 1), ("child", 2), ("parent", 1)]


def test_idle_connections_are_bounded() -> None:
    with serve(*[answer(ACQUIRED)] * 40) as server:
        client = Client(port=server.port)
        barrier = threading.Barrier(20)
        pool = client._pool

        class AllAtOnce(Pool):
            def put(self, connection: Connection) -> None:
                barrier.wait(30)
                pool.put(connection)

        client._pool = AllAtOnce()
        threads = [threading.Thread(target=client.acquire, args=("a",)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server._connections) == 20
        assert len(pool._idle) == 16
        pool.clear()
        assert len(pool._idle) == 0


def test_an_interrupted_call_leaves_no_half_answer_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(answer({"status": "completed", "result": "old"}), answer({"status": "completed", "result": "new"})) as server:
        client = Client(port=server.port)
        more = Connection._more

        def interrupted(self: Connection, until: float) -> bool:
            monkeypatch.setattr(Connection, "_more", more)
            more(self, until)
            raise KeyboardInterrupt

        monkeypatch.setattr(Connection, "_more", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.acquire("a")
        assert client.acquire("b").result == "new"
        client.close()
    assert [request.connection for request in server.requests] == [1, 2]


def test_a_request_that_is_refused_before_all_of_it_was_sent() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    connections = []

    def refuse() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(1)
            with connection:
                connection.recv(1000)
                connection.sendall(problem(413, "too_large", headers={"Connection": "close"}))

    thread = threading.Thread(target=refuse, daemon=True)
    thread.start()
    with listener, pytest.raises(ProblemError) as caught:
        # More than the system holds for a server that does not take it.
        Client(port=listener.getsockname()[1]).acquire("a", payload="x" * (30 << 20))
    assert (caught.value.status, caught.value.code) == (413, "too_large")
    assert len(connections) == 1


def test_what_an_idle_connection_was_told_is_no_answer() -> None:
    stale = problem(408, "timeout", headers={"Connection": "close"})
    with serve(answer(ACQUIRED), answer(ACQUIRED)) as server:
        client = Client(port=server.port)
        client.acquire("a")
        # As a server does that gives up waiting for the next request.
        server._connections[0].sendall(stale)
        server._connections[0].shutdown(socket.SHUT_RDWR)
        server._connections[0].close()
        # More than the system takes at once, so that sending it fails.
        assert client.acquire("b", payload="x" * (30 << 20)).status == "acquired"
        client.close()
    assert [request.connection for request in server.requests] == [1, 2]
