"""The client against the real sidecar."""

from __future__ import annotations

import decimal
import logging
import multiprocessing
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lambda_idempotency import (
    ClaimLostError,
    Client,
    FailedError,
    Failure,
    InProgressError,
    PayloadMismatchError,
    ProblemError,
    ResultError,
    UnavailableError,
    current_claim,
    idempotent,
    idempotent_function,
    run,
)

from . import program
from .invocations import Context
from .program import Sidecar, free_port


class CardRefused(Exception):
    pass


def new_key() -> str:
    return uuid.uuid4().hex


def test_first_and_duplicate(sidecar: Sidecar) -> None:
    runs: list[int] = []

    @idempotent(key="[JobId, ObjKey]")
    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        runs.append(current_claim().attempt)
        return {"done": event["JobId"], "n": 2**53 + 1, "text": "é\u2028😀", "none": None, "list": [1.5, False]}

    event = {"JobId": new_key(), "ObjKey": "a/b"}
    first = handler(event, Context())
    again = handler({**dict(reversed(list(event.items()))), "other": 1}, Context("r2"))
    assert again == first
    assert runs == [1]


@pytest.mark.parametrize("result", [None, 0, "", {}, [], False, 10**30, 0.1 + 0.2], ids=repr)
def test_what_a_duplicate_gets(sidecar: Sidecar, result: Any) -> None:
    key = new_key()
    assert run(key, lambda: result) is result
    again: Any = run(key, lambda: pytest.fail("it ran twice"))
    assert again == result
    assert type(again) is type(result)


def test_eight_threads_at_once(sidecar: Sidecar) -> None:
    key, runs, barrier = new_key(), [], threading.Barrier(8)

    def work() -> str:
        runs.append(1)
        time.sleep(0.1)
        return "done"

    def call(_: int) -> Any:
        barrier.wait(30)
        try:
            return run(key, work)
        except InProgressError as error:
            assert error.retry_after > 0
            return error

    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(call, range(8)))
    assert runs == [1]
    assert got.count("done") >= 1
    assert all(one == "done" or isinstance(one, InProgressError) for one in got)


def test_eight_threads_that_wait(sidecar: Sidecar) -> None:
    key, runs, barrier = new_key(), [], threading.Barrier(8)

    def work() -> str:
        runs.append(1)
        time.sleep(0.1)
        return "done"

    def call(_: int) -> str:
        barrier.wait(30)
        return run(key, work, wait=60)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(call, range(8))) == ["done"] * 8
    assert runs == [1]


def test_threads_with_keys_of_their_own_do_not_mix_answers(sidecar: Sidecar) -> None:
    prefix = new_key()

    def call(i: int) -> list[int]:
        return [run(f"{prefix}-{i}-{j % 5}", lambda j=j: i * 100 + j % 5) for j in range(20)]  # type: ignore[misc]

    with ThreadPoolExecutor(8) as threads:
        for i, got in enumerate(threads.map(call, range(8))):
            assert got == [i * 100 + j % 5 for j in range(20)]


def _in_a_process(key: str, port: int, answers: Any) -> None:
    client = Client(port=port, auth_token=program.SECRET)
    answers.put(client.run(key, lambda: "child"))


@pytest.mark.parametrize("how", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_another_process(client: Client, sidecar: Sidecar, how: str) -> None:
    if how not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {how}")
    key = new_key()
    assert client.run(key, lambda: "parent") == "parent"
    context: Any = multiprocessing.get_context(how)
    answers = context.SimpleQueue()
    child = context.Process(target=_in_a_process, args=(key, sidecar.port, answers))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert answers.get() == "parent"


def test_a_failure_is_retried(client: Client) -> None:
    key = new_key()

    def refuse() -> None:
        raise CardRefused("no route \ud83d" + "!" * 5000)

    with pytest.raises(CardRefused):
        client.run(key, refuse)

    failure = Failure("CardRefused", ("no route ?" + "!" * 5000)[:2048])
    claim = client.acquire(key)
    assert (claim.attempt, claim.previous_error) == (2, failure)
    client.complete(claim.token, "done")
    assert client.run(key, lambda: pytest.fail("it ran again")) == "done"


def test_a_final_failure(client: Client) -> None:
    key = new_key()

    def refuse() -> None:
        raise CardRefused("stolen")

    with pytest.raises(CardRefused, match="stolen"):
        client.run(key, refuse, final_errors=(KeyError, CardRefused))
    with pytest.raises(FailedError) as caught:
        client.run(key, lambda: pytest.fail("it ran again"))
    assert (caught.value.type, caught.value.message) == ("CardRefused", "stolen")


def test_an_interrupt_frees_the_key(client: Client) -> None:
    key = new_key()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.run(key, interrupt)
    assert client.run(key, lambda: current_claim().attempt) == 2


def test_another_payload(client: Client) -> None:
    key = new_key()
    assert client.run(key, lambda: 1, payload={"amount": 10, "to": "a"}) == 1
    assert client.run(key, lambda: 2, payload={"to": "a", "amount": 10}) == 1
    with pytest.raises(PayloadMismatchError) as caught:
        client.run(key, lambda: 3, payload={"amount": 11, "to": "a"})
    assert (caught.value.status, caught.value.code) == (422, "payload_mismatch")


def test_every_digit_of_a_number_counts(sidecar: Sidecar) -> None:
    @idempotent(key="n")
    def handler(event: dict[str, Any], context: Any = None) -> int:
        number: int = event["n"]
        return number

    least = uuid.uuid4().int * 10
    assert [handler({"n": least}), handler({"n": least + 1}), handler({"n": least})] == [least, least + 1, least]


def test_nothing_to_make_a_key_of(sidecar: Sidecar) -> None:
    @idempotent(key="[a, b]")
    def handler(event: Any, context: Any) -> None:
        pytest.fail("it ran without a key")

    with pytest.raises(ProblemError) as caught:
        handler({"c": 1}, None)
    assert caught.value.code == "key_missing"


def test_renew(client: Client) -> None:
    outcome = client.acquire(new_key(), lease=5)
    until = client.renew(outcome.token, lease=120)
    assert until >= outcome.lease_expires_at + 60_000
    assert client.renew(outcome.token, lease=1) == until  # A lease is never shortened.

    def work() -> int:
        claim = current_claim()
        before = claim.lease_expires_at
        assert claim.renew(600) == claim.lease_expires_at
        return claim.lease_expires_at - before

    assert client.run(new_key(), work, lease=5) >= 300_000


def test_options_reach_the_record(client: Client, sidecar: Sidecar) -> None:
    key = new_key()
    with_scope = client.run(key, lambda: current_claim().fence, scope="shop", ttl=3600)
    record = sidecar.record(key, "shop")
    assert record["status"] == "COMPLETED"
    assert record["fence"] == with_scope
    assert 3000 < record["expiration"] - time.time() < 4000


def test_a_claim_that_was_lost(client: Client) -> None:
    key = new_key()

    def work() -> str:
        # Ended behind the work's back, as another run would after the lease.
        client.fail(current_claim().token, retry=False)
        return "late"

    with pytest.raises(ClaimLostError) as caught:
        client.run(key, work)
    assert (caught.value.status, caught.value.code, caught.value.result) == (409, "claim_lost", "late")


def test_a_claim_handed_on(client: Client) -> None:
    key = new_key()
    outcome = client.acquire(key, lease=60, detached=True)
    assert outcome.status == "acquired"
    assert client.acquire(key).status == "in_progress"
    elsewhere = Client()  # With connections of its own.
    elsewhere.complete(outcome.token, "done elsewhere", ttl=60)
    elsewhere.complete(outcome.token, "done elsewhere")  # It can be repeated.
    assert client.acquire(key).result == "done elsewhere"


def test_the_same_call_is_the_same_claim(client: Client) -> None:
    key, client_token = new_key(), uuid.uuid4().hex
    first = client.acquire(key, client_token=client_token)
    assert client.acquire(key, client_token=client_token).token == first.token
    assert client.acquire(key).status == "in_progress"


def test_no_token_or_result_in_a_repr(client: Client) -> None:
    outcome = client.acquire(new_key())
    assert repr(outcome) == "<Outcome acquired>"
    assert program.SECRET not in repr(client)


def test_a_result_that_is_no_json(client: Client, sidecar: Sidecar) -> None:
    key = new_key()
    with pytest.raises(ResultError, match=r"the result\['price'\] is of type decimal.Decimal") as caught:
        client.run(key, lambda: {"price": decimal.Decimal("1.10")})
    assert caught.value.result == {"price": decimal.Decimal("1.10")}
    # The work is done, so it is not done again.
    assert sidecar.record(key)["status"] == "COMPLETED"
    assert client.run(key, lambda: pytest.fail("it ran twice")) is None


def test_a_result_too_large_to_be_sent(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    key, large = new_key(), "x" * (7 << 20)
    assert client.run(key, lambda: large) == large
    assert [record.levelno for record in caplog.records if record.name == "lambda_idempotency"] == [logging.WARNING]
    assert client.run(key, lambda: pytest.fail("it ran twice")) is None


def test_a_large_result(client: Client) -> None:
    key = new_key()
    large = {"items": [{"n": i, "text": "é" * 50} for i in range(20_000)]}
    assert client.run(key, lambda: large) == large
    assert client.run(key, lambda: pytest.fail("it ran twice")) == large


@pytest.mark.parametrize(
    ("event", "kind"),
    [({"id": float("nan")}, ValueError), ({"id": decimal.Decimal(1)}, TypeError), ({"id": "\ud800"}, ValueError), ({"id": {1}}, TypeError)],
    ids=range(4),
)
def test_an_event_that_is_no_json(sidecar: Sidecar, event: Any, kind: type[Exception]) -> None:
    @idempotent(key="id")
    def handler(event: Any, context: Any) -> None:
        pytest.fail("it ran without a claim")

    with pytest.raises(kind, match=r"event\['id'\]"):
        handler(event, None)


def test_a_wrong_secret(sidecar: Sidecar) -> None:
    with pytest.raises(ProblemError) as caught:
        Client(auth_token="wrong").acquire("a")
    assert (caught.value.status, caught.value.code) == (401, "unauthorized")


def test_a_sidecar_started_anew_between_calls(tmp_path: Any) -> None:
    store = f"file:{tmp_path}/store"
    started = [program.Sidecar(store=store)]
    client = Client(port=started[0].port, auth_token=program.SECRET)

    def work() -> int:
        started[0].kill()
        started.append(program.Sidecar(port=started[0].port, store=store))
        return 2

    try:
        client.run("a", lambda: 1)
        assert client.run("b", work) == 2
        assert client.run("a", lambda: pytest.fail("it ran twice")) == 1
        assert client.run("b", lambda: pytest.fail("it ran twice")) == 2
    finally:
        for one in started:
            one.kill()
        client.close()


def test_a_sidecar_that_is_gone_when_the_work_is_done(caplog: pytest.LogCaptureFixture) -> None:
    only = program.Sidecar()
    client = Client(port=only.port, auth_token=program.SECRET)

    def work() -> str:
        only.kill()
        return "done"

    assert client.run("a", work) == "done"
    (warning,) = (record for record in caplog.records if record.name == "lambda_idempotency")
    assert "is the layer attached, or the local server started?" in warning.getMessage()


def test_a_sidecar_that_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDEMPOTENCY_PORT", str(free_port()))
    with pytest.raises(UnavailableError, match="is the layer attached, or the local server started"):
        run("a", lambda: pytest.fail("it ran without a claim"))


def test_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDEMPOTENCY_DISABLED", "true")
    monkeypatch.setenv("IDEMPOTENCY_PORT", str(free_port()))  # Nobody is asked.
    runs: list[Any] = []

    @idempotent(key="id")
    def handler(event: Any, context: Any) -> str:
        claim = current_claim()
        runs.append((claim.attempt, claim.previous_error, claim.renew(60) == claim.lease_expires_at, claim.fence > 0))
        return "ran"

    @idempotent_function
    def fails() -> None:
        raise CardRefused("no route")

    assert [handler({"id": 1}, None), handler({"id": 1}, None)] == ["ran", "ran"]
    assert runs == [(1, None, True, True)] * 2
    with pytest.raises(CardRefused):
        fails()
    # What would be wrong with the sidecar is wrong without it.
    with pytest.raises(ResultError):
        run("a", lambda: {1})
    with pytest.raises(TypeError):
        run(7, lambda: 1)  # type: ignore[arg-type]
    client = Client()
    client.fail(client.acquire("a").token)
    client.complete(client.acquire("a").token)
