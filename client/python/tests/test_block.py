from __future__ import annotations

import uuid
from typing import Any

import pytest

from lambda_idempotency import Client, FailedError, InProgressError, ResultError, current_claim, idempotency

from .program import Sidecar, free_port


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


def test_a_duplicate_has_the_result(client: Client, key: str) -> None:
    runs = []

    def once() -> Any:
        with idempotency(key) as claim:
            if claim.completed:
                return claim.result
            runs.append(claim.attempt)
            assert current_claim() is claim
            claim.result = {"fence": claim.fence}
            assert claim.result == {"fence": claim.fence}
        return claim.result

    assert once() == once()
    assert runs == [1]


def test_without_a_result(client: Client, key: str) -> None:
    for turn in range(2):
        with idempotency(key) as claim:
            assert claim.completed == (turn == 1)
    assert claim.result is None
    assert client.acquire(key).status == "completed"


def test_an_error_frees_the_key(client: Client, key: str) -> None:
    with pytest.raises(KeyError), idempotency(key) as claim:
        claim.result = 1
        raise KeyError("x")
    with idempotency(key) as claim:
        assert not claim.completed
        assert claim.attempt == 2
        assert claim.previous_error is not None
        assert claim.previous_error.type == "KeyError"


def test_a_final_error(client: Client, key: str) -> None:
    with pytest.raises(KeyError), idempotency(key, final_errors=LookupError):
        raise KeyError("x")
    with pytest.raises(FailedError, match="KeyError"), idempotency(key):
        pytest.fail("it ran again")


def test_in_progress(client: Client, key: str) -> None:
    client.acquire(key)
    with pytest.raises(InProgressError), idempotency(key):
        pytest.fail("it ran twice")


def test_a_block_that_does_not_ask_is_told_at_its_first_run(client: Client, key: str) -> None:
    with pytest.raises(RuntimeError, match=r"never asked claim\.completed"), idempotency(key) as claim:
        claim.result = 1
    assert client.acquire(key).result == 1  # What was done is done.
    with pytest.raises(RuntimeError, match=r"never asked claim\.completed"), idempotency(key):
        pass


def test_a_duplicate_cannot_have_another_result(client: Client, key: str) -> None:
    client.run(key, lambda: "first")
    with pytest.raises(RuntimeError, match="was done by another run"), idempotency(key) as claim:
        claim.result = "second"
    assert client.acquire(key).result == "first"


def test_a_result_that_is_not_there_yet(client: Client, key: str) -> None:
    with pytest.raises(RuntimeError, match="no result yet"), idempotency(key) as claim:
        _ = claim.result
    assert client.acquire(key).attempt == 2


def test_a_duplicate_has_no_claim(client: Client, key: str) -> None:
    client.run(key, lambda: "first")
    with idempotency(key) as claim:
        assert claim.completed
        for name in ("token", "fence", "attempt", "previous_error", "lease_expires_at", "unprotected"):
            with pytest.raises(AttributeError, match=f"there is no {name}: the work was done by another run"):
                getattr(claim, name)
        with pytest.raises(AttributeError):
            claim.nothing  # noqa: B018
        with pytest.raises(RuntimeError):
            current_claim()


def test_a_block_is_entered_once(client: Client, key: str) -> None:
    block = idempotency(key)
    with block as claim:
        assert not claim.completed
    with pytest.raises(RuntimeError, match="entered before"), block:
        pytest.fail("it was entered twice")


def test_blocks_within_blocks(client: Client, key: str) -> None:
    with idempotency(key) as outer:
        assert not outer.completed
        with idempotency(key + "-2") as inner:
            assert not inner.completed
            assert current_claim() is inner
        assert current_claim() is outer
    with pytest.raises(RuntimeError, match="there is no claim"):
        current_claim()


def test_a_result_that_is_no_json(client: Client, key: str, sidecar: Sidecar) -> None:
    with pytest.raises(ResultError, match="the result is of type set"), idempotency(key) as claim:
        assert not claim.completed
        claim.result = {1}
    assert sidecar.record(key)["status"] == "COMPLETED"


def test_disabled(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("IDEMPOTENCY_DISABLED", "true")
    monkeypatch.setenv("IDEMPOTENCY_PORT", str(free_port()))
    for _ in range(2):
        with idempotency(key) as claim:
            assert not claim.completed
            claim.result = 1
        assert claim.result == 1
