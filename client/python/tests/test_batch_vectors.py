"""Each case of batch-vectors.json, by a function and by a coroutine."""

from __future__ import annotations

import asyncio
import json
import logging
import pathlib
import time
from typing import Any

import pytest

import lambda_idempotency
from lambda_idempotency import Client, ProblemError, UnavailableError, current_claim, idempotent_batch

from . import scripted
from .test_vectors import script

CASES = json.loads((pathlib.Path(__file__).parents[2] / "batch-vectors.json").read_text(encoding="utf-8"))["cases"]


class WorkError(Exception):
    pass


class Context:
    """What Lambda hands to a handler, with a clock that runs."""

    def __init__(self, call: dict[str, Any]) -> None:
        self.aws_request_id = call.get("request_id")
        self._until = time.monotonic() + call["remaining_ms"] / 1000 if "remaining_ms" in call else None

    def get_remaining_time_in_millis(self) -> float | None:
        return None if self._until is None else (self._until - time.monotonic()) * 1000


def options(call: dict[str, Any]) -> dict[str, Any]:
    named = {"key": call.get("key_jmespath"), "scope": call.get("scope"), "ttl": call.get("ttl_seconds")}
    if call.get("final"):
        named["final_errors"] = WorkError
    return named


@pytest.mark.parametrize("coroutine", [False, True], ids=["function", "coroutine"])
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_vector(case: dict[str, Any], coroutine: bool, caplog: pytest.LogCaptureFixture) -> None:
    call, want = case["call"], case["outcome"]
    runs: list[str] = []

    def work(record: dict[str, Any]) -> str:
        runs.append(record["messageId"])
        assert current_claim().fence == 5
        does = case.get("work", {}).get(record["messageId"], {})
        time.sleep(does.get("takes_ms", 0) / 1000)
        if "throws" in does:
            raise WorkError(does["throws"])
        return "not stored"

    with scripted.serve(*(script(answer) for answer in case["answers"])) as server:
        client = Client(port=server.port)

        @idempotent_batch(client=client, **options(call))
        def handler(record: Any, context: Any) -> Any:
            return work(record)

        @idempotent_batch(client=client, **options(call))
        async def async_handler(record: Any, context: Any) -> Any:
            await asyncio.sleep(0)
            return work(record)

        before = time.time()
        outcome: Any
        try:
            outcome = asyncio.run(async_handler(call["event"], Context(call))) if coroutine else handler(call["event"], Context(call))
        except ProblemError as error:
            outcome = error
        client.close()
    assert runs == case["runs"]
    expect_requests(server.requests, case, before)
    if "error" in want:
        assert type(outcome) is getattr(lambda_idempotency, want["error"])
        assert outcome.code == want.get("code", "")
        assert not isinstance(outcome, UnavailableError) or outcome.retry_after == (
            want["retry_after_ms"] / 1000 if "retry_after_ms" in want else None
        )
        return
    assert outcome == {"batchItemFailures": [{"itemIdentifier": name} for name in want["failures"]]}
    warnings = [record.getMessage() for record in caplog.records if record.name == "lambda_idempotency" and record.levelno == logging.WARNING]
    assert len(warnings) == want.get("warnings", len(warnings)), warnings


def expect_requests(got: list[scripted.Request], case: dict[str, Any], before: float) -> None:
    assert [request.path for request in got] == [request["path"] for request in case["requests"]]
    tokens: list[str] = []
    last: Any = None
    for request, want in zip(got, case["requests"]):
        assert set(request.body) == {"items"}
        if last and last.path == request.path:
            assert request.body == last.body
        last = request
        items = [dict(item) for item in request.body["items"]]
        assert len(items) == len(want["items"])
        for item, expected in zip(items, want["items"]):
            expected = dict(expected)
            if "acquire" in request.path:
                tokens.append(item.pop("client_token"))
                assert 16 <= len(tokens[-1]) <= 128
            if want.get("deadline"):
                assert abs(item.pop("deadline_ms") - before * 1000 - case["call"]["remaining_ms"]) < 2000
            if "error_message" in expected:
                error = item.pop("error")
                assert error["message"].endswith(expected.pop("error_message"))
                assert error["type"] in ("WorkError", "Idempotency.HeldBack")
            assert item == expected
    if tokens:  # No two records share one, and what is sent again has the same.
        assert len(set(tokens)) == len(case["requests"][0]["items"])
