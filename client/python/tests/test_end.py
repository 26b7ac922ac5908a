"""What becomes of work whose end cannot be stored as it is."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from lambda_idempotency import ClaimLostError, Client, ResultError

from .scripted import ACQUIRED, COMPLETED, DROP, Scripted, answer, problem, serve


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "lambda_idempotency" and record.levelno == logging.WARNING]


@pytest.mark.parametrize(
    "told",
    [problem(404, "claim_unknown"), problem(500, "internal"), problem(401, "unauthorized"), answer("what?", 500), answer("what?"), b"nonsense"],
    ids=range(6),
)
def test_work_that_is_done_keeps_its_result(told: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with serve(answer(ACQUIRED), told) as server:
        assert Client(port=server.port).run("a", lambda: 42) == 42
    assert [request.path for request in server.requests] == ["/acquire", "/complete"]
    (warning,) = warnings(caplog)
    assert warning.startswith("the work is done, but that could not be stored: ")


@pytest.mark.parametrize("second", [answer(COMPLETED), problem(503, "store_unavailable"), DROP], ids=range(3))
def test_a_result_that_is_refused(second: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    with serve(answer(ACQUIRED), problem(400, "bad_request", "not so"), second) as server, pytest.raises(ResultError, match="not so") as caught:
        Client(port=server.port).run("a", lambda: 42)
    assert caught.value.result == 42
    assert server.requests[1].body == {"token": "t1", "result": 42}
    assert server.requests[2].body == {"token": "t1"}
    assert len(warnings(caplog)) == (0 if isinstance(second, bytes) and b"completed" in second else 1)


def test_a_result_that_is_no_json_of_a_claim_that_was_lost(caplog: pytest.LogCaptureFixture) -> None:
    with serve(answer(ACQUIRED), problem(409, "claim_lost")) as server, pytest.raises(ResultError):
        Client(port=server.port).run("a", lambda: {1, 2})
    assert server.requests[1].body == {"token": "t1"}
    assert len(warnings(caplog)) == 1


def test_the_error_of_a_lost_claim_has_the_one_of_the_answer_as_cause() -> None:
    with serve(answer(ACQUIRED), problem(409, "claim_lost")) as server, pytest.raises(ClaimLostError) as caught:
        Client(port=server.port).run("a", lambda: [1])
    assert caught.value.result == [1]
    assert isinstance(caught.value.__cause__, ClaimLostError)


def test_an_error_that_cannot_say_what_it_is() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    def work() -> None:
        raise Mute

    with serve(answer(ACQUIRED), answer({"status": "released"})) as server, pytest.raises(Mute):
        Client(port=server.port).run("a", work)
    assert server.requests[1].body["error"] == {"type": "Mute", "message": ""}


def test_an_unprotected_claim_says_so() -> None:
    from lambda_idempotency import current_claim

    with serve(answer({**ACQUIRED, "unprotected": True}), answer(COMPLETED)) as server:
        assert Client(port=server.port).run("a", lambda: current_claim().unprotected) is True


def test_a_result_that_raises_when_it_is_read(caplog: pytest.LogCaptureFixture) -> None:
    class Lazy(dict[str, int]):
        def items(self) -> Any:
            raise KeyError("not loaded")

    with serve(answer(ACQUIRED), answer(COMPLETED)) as server, pytest.raises(ResultError, match="KeyError"):
        Client(port=server.port).run("a", lambda: Lazy(a=1))
    assert server.requests[1].body == {"token": "t1"}
