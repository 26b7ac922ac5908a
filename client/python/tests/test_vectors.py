"""Each case of vectors.json, by each of the wrappers it fits."""

from __future__ import annotations

import asyncio
import json
import logging
import pathlib
import time
from typing import Any, Callable

import pytest

import lambda_idempotency
from lambda_idempotency import Client, idempotency, idempotent, invocation

from . import scripted
from .invocations import Context

CASES = json.loads((pathlib.Path(__file__).parents[2] / "vectors.json").read_text(encoding="utf-8"))["cases"]


class WorkError(Exception):
    pass


class Work:
    def __init__(self, does: dict[str, Any]) -> None:
        self._does = does
        self.runs = 0

    def __call__(self) -> Any:
        self.runs += 1
        if "throws" in self._does:
            raise WorkError(self._does["throws"])
        return self._does["returns"]

    async def coroutine(self) -> Any:
        await asyncio.sleep(0)
        return self()


def options(call: dict[str, Any]) -> dict[str, Any]:
    named: dict[str, Any] = {name: call[name] for name in ("payload", "scope") if name in call}
    if "ttl_seconds" in call:
        named["ttl"] = call["ttl_seconds"]
    if "wait_ms" in call:
        named["wait"] = call["wait_ms"] / 1000
    if call.get("final"):
        named["final_errors"] = WorkError
    return named


def context(call: dict[str, Any]) -> Any:
    return Context(call["request_id"], call["remaining_ms"]) if "request_id" in call else None


def key(call: dict[str, Any]) -> Any:
    # JSON has lists only; the usual pair in Python is a tuple.
    return tuple(call["key"]) if isinstance(call["key"], list) else call["key"]


def by_run(client: Client, call: dict[str, Any], work: Work) -> Any:
    with invocation(context(call)):
        return client.run(key(call), work, **options(call))


def by_run_async(client: Client, call: dict[str, Any], work: Work) -> Any:
    async def main() -> Any:
        with invocation(context(call)):
            return await lambda_idempotency.AsyncClient(client).run(key(call), work.coroutine, **options(call))

    return asyncio.run(main())


def by_block(client: Client, call: dict[str, Any], work: Work) -> Any:
    with invocation(context(call)):
        with idempotency(key(call), client=client, **options(call)) as claim:
            if not claim.completed:
                claim.result = work()
        return claim.result


def by_block_async(client: Client, call: dict[str, Any], work: Work) -> Any:
    async def main() -> Any:
        with invocation(context(call)):
            async with idempotency(key(call), client=client, **options(call)) as claim:
                if not claim.completed:
                    claim.result = await work.coroutine()
            return claim.result

    return asyncio.run(main())


def decorated(call: dict[str, Any]) -> dict[str, Any]:
    named = options(call)
    if "payload" in named:
        payload = named["payload"]
        named["payload"] = lambda event, context: payload
    named["key"] = call.get("key_jmespath") if "event" in call else lambda event, context: key(call)
    return named


def by_handler(client: Client, call: dict[str, Any], work: Work) -> Any:
    @idempotent(client=client, **decorated(call))
    def handler(event: Any, context: Any) -> Any:
        return work()

    return handler(call.get("event"), context(call))


def by_async_handler(client: Client, call: dict[str, Any], work: Work) -> Any:
    @idempotent(client=client, **decorated(call))
    async def handler(event: Any, context: Any) -> Any:
        return await work.coroutine()

    return asyncio.run(handler(call.get("event"), context(call)))


WRAPPERS: list[Callable[[Client, dict[str, Any], Work], Any]] = [
    by_run,
    by_run_async,
    by_block,
    by_block_async,
    by_handler,
    by_async_handler,
]


# An event is what a handler has; the other wrappers have a key of their own.
FITTING = [
    pytest.param(wrapper, case, id=f"{wrapper.__name__}: {case['name']}")
    for wrapper in WRAPPERS
    for case in CASES
    if "event" not in case["call"] or wrapper in (by_handler, by_async_handler)
]


@pytest.mark.parametrize(("wrapper", "case"), FITTING)
def test_vector(wrapper: Callable[..., Any], case: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    call, want = case["call"], case["outcome"]
    work = Work(case["work"])
    with scripted.serve(*(script(answer) for answer in case["answers"])) as server:
        client = Client(port=server.port)
        before = time.time()
        try:
            outcome = {"returns": wrapper(client, call, work)}
        except Exception as error:
            outcome = {"error": error}
        after = time.time()
        client.close()
    expect_requests(server.requests, case, before, after)
    assert work.runs == case["runs"]
    expect_outcome(outcome, want)
    warnings = [record for record in caplog.records if record.name == "lambda_idempotency" and record.levelno == logging.WARNING]
    assert bool(warnings) == (want.get("warning", False) or case["name"].startswith("the work's own error"))
    assert len(warnings) <= 1


def script(answer: dict[str, Any]) -> scripted.Scripted:
    if answer.get("drop"):
        return scripted.DROP
    return scripted.answer(answer["text"] if "text" in answer else answer["body"], answer.get("status", 200), answer.get("headers"))


def expect_requests(got: list[scripted.Request], case: dict[str, Any], before: float, after: float) -> None:
    assert [request.path for request in got] == [request["path"] for request in case["requests"]]
    tokens = [request.body["client_token"] for request in got if request.path == "/acquire"]
    assert len(set(tokens)) <= 1
    assert all(16 <= len(token) <= 128 for token in tokens)
    for request, want in zip(got, case["requests"]):
        for name, value in want["body"].items():
            assert name in request.body
            assert request.body[name] == value
            assert type(request.body[name]) is type(value)
        extra = set(request.body) - set(want["body"]) - {"client_token"}
        if want.get("deadline"):
            extra.remove("deadline_ms")
            remaining = case["call"]["remaining_ms"]
            assert before * 1000 + remaining - 2000 <= request.body["deadline_ms"] <= after * 1000 + remaining + 2000
        if "error_message" in want:
            extra.remove("error")
            assert request.body["error"] == {"type": "WorkError", "message": want["error_message"]}
        assert extra == set()


def expect_outcome(got: dict[str, Any], want: dict[str, Any]) -> None:
    if "error" not in want:
        assert "error" not in got, got["error"]
        assert got["returns"] == want["returns"]
        assert type(got["returns"]) is type(want["returns"])
        return
    error = got["error"]
    if want["error"] == "work":
        assert type(error) is WorkError
        assert str(error) == want["message"]
        return
    assert type(error) is getattr(lambda_idempotency, want["error"])
    for name, value in want.items():
        if name == "retry_after_ms":
            assert error.retry_after == value / 1000
        elif name != "error":
            assert getattr(error, name) == value
