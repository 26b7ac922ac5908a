"""Batches against the real sidecar."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
import urllib.error
import uuid
from collections import Counter
from typing import Any

import pytest

from lambda_idempotency import Client, UnavailableError, current_claim, idempotent_batch

from .invocations import Context
from .program import Sidecar, free_port

FIFO = "arn:aws:sqs:eu-west-1:123456789012:orders.fifo"


def batch(*names: str, prefix: str = "", **members: Any) -> dict[str, Any]:
    return {"Records": [{"messageId": prefix + name, "body": name, **members} for name in names]}


def fifo(prefix: str, *names: str) -> dict[str, Any]:
    """Records whose first letter is their group."""
    made = batch(*names, prefix=prefix, eventSourceARN=FIFO)
    for record in made["Records"]:
        record["attributes"] = {"MessageGroupId": record["body"][0]}
    return made


def reported(response: Any) -> list[str]:
    assert set(response) == {"batchItemFailures"}
    return [failure["itemIdentifier"][32:] for failure in response["batchItemFailures"]]


def state(record: dict[str, Any]) -> str:
    status: str = record["status"]
    return "released" if record["history"][-1]["status"] == "RELEASED" else status


@pytest.fixture
def prefix() -> str:
    return uuid.uuid4().hex


def test_more_than_one_call_takes(sidecar: Sidecar, prefix: str) -> None:
    runs: Counter[str] = Counter()

    @idempotent_batch
    def handler(record: Any, context: Any) -> None:
        runs[record["body"]] += 1
        if record["body"] == "1234" and runs["1234"] == 1:
            raise ValueError("no route")

    event = batch(*map(str, range(2500)), prefix=prefix)
    assert [reported(handler(event, Context(f"r{i}"))) for i in range(3)] == [["1234"], [], []]
    assert runs == Counter({**{str(i): 1 for i in range(2500)}, "1234": 2})
    record = sidecar.record(prefix + "1234")
    assert (record["status"], record["attempt"]) == ("COMPLETED", 2)


def test_fifo(sidecar: Sidecar, prefix: str) -> None:
    runs: list[str] = []
    broken = True

    @idempotent_batch()
    def handler(record: Any, context: Any) -> None:
        runs.append(record["body"])
        if record["body"] == "a2" and broken:
            raise ValueError("no route")

    event = fifo(prefix, "a1", "b1", "a2", "b2", "a3")
    assert reported(handler(event, Context("r1"))) == ["a2", "a3"]
    assert runs == ["a1", "b1", "a2", "b2"]
    broken = False
    assert reported(handler(event, Context("r2"))) == []
    assert runs[4:] == ["a2", "a3"]


def test_bodies_alike_and_final_errors(sidecar: Sidecar, prefix: str) -> None:
    runs: list[str] = []

    @idempotent_batch(key="[body, messageId]", final_errors=ValueError)
    def handler(record: Any, context: Any) -> None:
        runs.append(record["body"])
        if record["body"] == "y":
            raise ValueError("never")

    twice = batch("x", "y", "x", "y", prefix=prefix)
    for _ in range(2):
        assert reported(handler(twice, Context())) == ["y"]
        assert runs == ["x", "y"]


@pytest.mark.parametrize("coroutine", [False, True])
def test_key_payload_claim_and_context(sidecar: Sidecar, prefix: str, coroutine: bool) -> None:
    context = Context("r9")
    seen: list[Any] = []

    def note(record: Any, got: Any) -> None:
        seen.append((record["body"], got is context, current_claim().attempt))

    options: dict[str, Any] = {"key": lambda record, _: ("orders", prefix + record["body"][0]), "payload": lambda record, _: record["body"]}

    @idempotent_batch(**options)
    def handler(record: Any, got: Any) -> None:
        note(record, got)

    @idempotent_batch(**options)
    async def async_handler(record: Any, got: Any) -> None:
        await asyncio.sleep(0)
        note(record, got)

    event = batch("a", "b", "a", "a changed", prefix=prefix)
    response = asyncio.run(async_handler(event, context)) if coroutine else handler(event, context)
    assert reported(response) == ["a changed"]
    assert seen == [("a", True, 1), ("b", True, 1)]


def test_what_is_wrong_with_one_record(sidecar: Sidecar, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    runs: list[str] = []

    def key(record: Any, context: Any) -> Any:
        if record["body"] == "raises":
            raise ZeroDivisionError
        return {"none": None, "number": 7}.get(record["body"], record["messageId"])

    @idempotent_batch(key=key)
    def handler(record: Any, context: Any) -> None:
        runs.append(record["body"])

    assert reported(handler(batch("raises", "fine", "none", "number", prefix=prefix), Context())) == ["raises", "none", "number"]
    assert runs == ["fine"]
    assert "ZeroDivisionError" in caplog.text


def test_errors_are_logged_with_their_traces(sidecar: Sidecar, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    @idempotent_batch
    def handler(record: Any, context: Any) -> None:
        raise ValueError("no route")

    handler(batch("a", prefix=prefix), Context())
    [logged] = caplog.records
    assert logged.exc_info
    assert (logged.levelno, logged.exc_info[0]) == (logging.WARNING, ValueError)


def test_an_error_that_raises_when_it_is_shown(sidecar: Sidecar, prefix: str) -> None:
    class Odd(Exception):
        def __repr__(self) -> str:
            raise ZeroDivisionError

    @idempotent_batch(key="body")
    def handler(record: Any, context: Any) -> None:
        if record["body"] == prefix + "odd":
            raise Odd

    event = {"Records": [{"messageId": str(at), "body": prefix + body} for at, body in enumerate(["odd", "odd", "fine"])]}
    assert handler(event, Context()) == {"batchItemFailures": [{"itemIdentifier": "0"}, {"itemIdentifier": "1"}]}


@pytest.mark.parametrize("coroutine", [False, True])
def test_what_is_more_than_an_error_ends_the_batch(sidecar: Sidecar, prefix: str, coroutine: bool) -> None:
    def work(record: Any) -> None:
        if record["body"] == "b":
            raise SystemExit(3)

    @idempotent_batch
    def handler(record: Any, context: Any) -> None:
        work(record)

    @idempotent_batch
    async def async_handler(record: Any, context: Any) -> None:
        await asyncio.sleep(0)
        work(record)

    event = batch("a", "b", "c", prefix=prefix)
    with pytest.raises(SystemExit):
        asyncio.run(async_handler(event, Context())) if coroutine else handler(event, Context())
    records = {name: sidecar.record(prefix + name) for name in "abc"}
    assert [state(records[name]) for name in "abc"] == ["COMPLETED", "released", "released"]
    assert records["b"]["error"]["type"] == "SystemExit"
    assert records["c"]["error"]["type"] == "Idempotency.HeldBack"


def test_a_task_that_is_cancelled_gives_its_claims_back(sidecar: Sidecar, prefix: str) -> None:
    @idempotent_batch
    async def handler(record: Any, context: Any) -> None:
        if record["body"] == "b":
            started.set()
            await asyncio.sleep(60)

    async def main() -> None:
        global started
        started = asyncio.Event()
        task = asyncio.ensure_future(handler(batch("a", "b", "c", prefix=prefix), Context()))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert [state(sidecar.record(prefix + name)) for name in "abc"] == ["COMPLETED", "released", "released"]


started: asyncio.Event


def test_a_task_that_is_cancelled_while_it_claims_gives_the_claims_back(sidecar: Sidecar, prefix: str) -> None:
    asked, go = threading.Event(), threading.Event()

    class Slow(Client):
        def send(self, path: str, body: str, wait_ms: int = 0) -> dict[str, Any]:
            asked.set()
            assert go.wait(30)
            return super().send(path, body, wait_ms)

    @idempotent_batch(client=Slow())
    async def handler(record: Any, context: Any) -> None:
        raise AssertionError

    async def main() -> None:
        task = asyncio.ensure_future(handler(batch("a", "b", prefix=prefix), Context()))
        while not asked.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    go.set()
    until = time.monotonic() + 30
    states: list[str] = []
    while states != ["released", "released"] and time.monotonic() < until:
        time.sleep(0.01)
        with contextlib.suppress(urllib.error.HTTPError):  # They are not even claimed yet.
            states = [state(sidecar.record(prefix + name)) for name in "ab"]
    assert states == ["released", "released"]


def test_large_records_go_in_calls_that_the_sidecar_takes(sidecar: Sidecar, prefix: str) -> None:
    runs: list[str] = []

    @idempotent_batch(key="messageId")
    def handler(record: Any, context: Any) -> None:
        runs.append(record["messageId"])

    event = {"Records": [{"messageId": prefix + str(i), "body": "é" * (1 << 19)} for i in range(12)]}
    assert reported(handler(event, Context())) == []
    assert len(runs) == 12


@pytest.mark.parametrize("event", [None, [], {}, {"Records": {}}, {"Records": [{"eventID": "1"}]}, {"Records": [{"messageId": 5}]}], ids=repr)
def test_other_events_are_refused(event: Any) -> None:
    @idempotent_batch
    def handler(record: Any, context: Any) -> None:
        raise AssertionError

    with pytest.raises(ValueError, match="takes events of SQS"):
        handler(event, Context())


def test_options_that_there_are_not() -> None:
    made: Any = idempotent_batch
    for options in ({"wait": 5}, {"lease": 5}, {"nothing": 1}, {"key": 5}, {"payload": 5}, {"final_errors": 5}):
        with pytest.raises(TypeError):
            made(**options)
    with pytest.raises(TypeError, match="by name"):
        made("messageId")


def test_disabled(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    monkeypatch.setenv("IDEMPOTENCY_DISABLED", "true")
    runs: list[str] = []

    @idempotent_batch
    def handler(record: Any, context: Any) -> None:
        runs.append(record["body"])
        if record["body"] == "b":
            raise ValueError("no route")

    assert reported(handler(batch("a", "b", "a", prefix=prefix), Context())) == ["b"]
    assert runs == ["a", "b", "a"]


def test_no_sidecar(prefix: str) -> None:
    @idempotent_batch(client=Client(port=free_port()))
    def handler(record: Any, context: Any) -> None:
        raise AssertionError

    with pytest.raises(UnavailableError, match="is the layer attached, or the local server started"):
        handler(batch("a", prefix=prefix), Context())
