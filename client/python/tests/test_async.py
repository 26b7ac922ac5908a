from __future__ import annotations

import asyncio
import contextvars
import threading
import time
import uuid
from typing import Any

import pytest

from lambda_idempotency import (
    AsyncClient,
    Client,
    InProgressError,
    aio,
    current_claim,
    idempotency,
    idempotent,
    idempotent_function,
    invocation,
    run_async,
    threads,
)
from lambda_idempotency import claim as claims
from lambda_idempotency.claim import Claim

from . import scripted
from .invocations import Context
from .program import Sidecar


def new_key() -> str:
    return uuid.uuid4().hex


def test_gather(sidecar: Sidecar) -> None:
    key, runs = new_key(), []

    async def work() -> str:
        runs.append(1)
        await asyncio.sleep(0.1)
        return "done"

    async def main() -> list[Any]:
        return await asyncio.gather(*(run_async(key, work, wait=60) for _ in range(30)))

    assert asyncio.run(main()) == ["done"] * 30
    assert runs == [1]


def test_acquires_that_wait_do_not_keep_ends_from_being_told(sidecar: Sidecar) -> None:
    # More keys than threads for ends, more waits than a usual executor has threads.
    keys, runs = [new_key() for _ in range(20)], []

    async def work() -> None:
        runs.append(1)
        await asyncio.sleep(0.05)

    async def main() -> None:
        await asyncio.gather(*(run_async(key, work, wait=300) for key in keys for _ in range(3)))

    before = time.monotonic()
    asyncio.run(main())
    assert len(runs) == 20
    assert time.monotonic() - before < 250  # Nobody waited to the end of the wait.


def test_the_loop_goes_on(sidecar: Sidecar) -> None:
    key = new_key()

    async def main() -> int:
        client = AsyncClient()
        claim = await client.acquire(key)
        waiting = asyncio.ensure_future(client.acquire(key, wait=60))
        turns = 0
        while not waiting.done() and turns < 10:
            await asyncio.sleep(0.01)
            turns += 1
        await client.complete(claim.token, 1)
        assert (await waiting).result == 1
        return turns

    assert asyncio.run(main()) == 10


def test_a_handler(sidecar: Sidecar) -> None:
    runs = []

    @idempotent(key="id")
    async def handler(event: Any, context: Any) -> Any:
        runs.append(current_claim().attempt)
        await asyncio.sleep(0)
        assert current_claim().fence > 0
        return {"id": event["id"]}

    event = {"id": new_key()}
    assert asyncio.iscoroutinefunction(handler) or handler.__code__.co_flags & 0x80
    assert asyncio.run(handler(event, Context())) == event
    assert asyncio.run(handler(event, Context())) == event
    assert runs == [1]


def test_each_task_has_its_own_claim(sidecar: Sidecar) -> None:
    @idempotent_function
    async def work(key: str) -> int:
        before = current_claim()
        await asyncio.sleep(0.02)
        assert current_claim() is before
        until = await current_claim().renew_async(300)
        assert until == before.lease_expires_at
        return before.fence

    async def main() -> list[int]:
        return await asyncio.gather(*(work(new_key()) for _ in range(8)))

    assert len(asyncio.run(main())) == 8
    with pytest.raises(RuntimeError, match="there is no claim"):
        current_claim()


def test_work_that_is_cancelled_frees_its_key(client: Client) -> None:
    key, begun = new_key(), threading.Event()

    async def work() -> None:
        begun.set()
        await asyncio.sleep(600)

    async def main() -> None:
        task = asyncio.ensure_future(run_async(key, work))
        while not begun.is_set():
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    outcome = client.acquire(key)
    assert (outcome.status, outcome.attempt) == ("acquired", 2)
    assert outcome.previous_error is not None
    assert outcome.previous_error.type == "CancelledError"


def test_a_claim_granted_to_an_acquire_that_was_cancelled_is_given_back() -> None:
    """The acquire is held back until its task has been cancelled."""
    begun, go, given_back = threading.Event(), threading.Event(), threading.Event()

    class Held(Client):
        def acquire(self, *args: Any, **options: Any) -> Any:
            begun.set()
            assert go.wait(60)
            return super().acquire(*args, **options)

        def fail(self, *args: Any, **options: Any) -> None:
            super().fail(*args, **options)
            given_back.set()

    async def work() -> None:
        pytest.fail("it was cancelled")

    async def main() -> None:
        task = asyncio.ensure_future(AsyncClient(Held(port=server.port)).run("a", work))
        while not begun.is_set():
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with scripted.serve(scripted.answer(scripted.ACQUIRED), scripted.answer({"status": "released"})) as server:
        asyncio.run(main())
        go.set()
        assert given_back.wait(60)
    assert [request.path for request in server.requests] == ["/acquire", "/fail"]
    assert server.requests[1].body["token"] == "t1"
    assert server.requests[1].body["retry"] is True


def test_a_coroutine_closed_in_another_context_knows_no_claim(client: Client) -> None:
    claim = Claim(client, client.acquire(new_key()))
    before = contextvars.copy_context().run(claims.enter, claim)
    claims.leave(before)
    with pytest.raises(RuntimeError, match="there is no claim"):
        current_claim()


def test_an_end_is_told_though_it_is_cancelled() -> None:
    """The answer to complete is held back until the task has been cancelled."""
    told = threading.Event()

    class Held(Client):
        def complete_encoded(self, token: str, result: Any, *, ttl: Any = None) -> None:
            told.set()
            time.sleep(0.1)
            super().complete_encoded(token, result, ttl=ttl)

    async def work() -> int:
        return 42

    async def main() -> None:
        task = asyncio.ensure_future(AsyncClient(Held(port=server.port)).run("a", work))
        while not told.is_set():
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [request.path for request in server.requests] == ["/acquire", "/complete"]

    with scripted.serve(scripted.answer(scripted.ACQUIRED), scripted.answer(scripted.COMPLETED)) as server:
        asyncio.run(main())


def test_a_coroutine_that_is_thrown_away_frees_its_key(client: Client) -> None:
    key = new_key()

    class Pause:
        def __await__(self) -> Any:
            yield

    async def work() -> None:
        await Pause()

    async def acquired() -> Any:
        return await aio._answered(aio._acquire(client, {"key": key}), client)

    outcome = asyncio.run(acquired())

    coroutine = _run_granted(client, outcome, work)
    coroutine.send(None)
    coroutine.close()
    assert client.acquire(key).attempt == 2


async def _run_granted(client: Client, outcome: Any, work: Any) -> None:
    held = Claim(client, outcome)
    try:
        await work()
    except BaseException as error:
        await aio.fail(held, error, ())
        raise


def test_the_verbs(client: Client) -> None:
    async def main() -> None:
        verbs = AsyncClient(client)
        first = await verbs.acquire(new_key(), lease=5)
        assert await verbs.renew(first.token, lease=60) >= first.lease_expires_at
        await verbs.fail(first.token, ValueError("no"), retry=False)
        key = new_key()
        second = await verbs.acquire(key)
        with pytest.raises(InProgressError):
            await verbs.run(key, _nothing)
        await verbs.complete(second.token, {"a": 1}, ttl=60)
        assert await verbs.run(key, _nothing) == {"a": 1}  # type: ignore[func-returns-value]

    asyncio.run(main())


async def _nothing() -> None:
    pytest.fail("it ran")


def test_an_awaitable_is_no_result(client: Client) -> None:
    key = new_key()

    async def work() -> int:
        return 1

    with pytest.raises(TypeError, match="use run_async"):
        _ = client.run(key, work)
    assert client.acquire(key).attempt == 2  # It has not run, so it is not done.
    with pytest.raises(TypeError):
        asyncio.run(run_async(new_key(), lambda: 1))  # type: ignore[arg-type, return-value]


def test_a_block(client: Client) -> None:
    key = new_key()

    async def main() -> tuple[bool, Any]:
        async with idempotency(key) as claim:
            if not claim.completed:
                claim.result = {"fence": current_claim().fence}
        return claim.completed, claim.result

    (first, result), (second, again) = asyncio.run(main()), asyncio.run(main())
    assert (first, second) == (False, True)
    assert result == again

    async def failing() -> None:
        async with idempotency(key + "-2", final_errors=ValueError) as claim:
            assert not claim.completed
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(failing())
    assert client.acquire(key + "-2").status == "failed"


def test_after_a_fork_there_are_threads_again(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    key = new_key()
    asyncio.run(run_async(key, _one))
    before = dict(threads._executors)
    # Another process id is what a fork leaves; its threads are gone, which the old executors do not know.
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert asyncio.run(run_async(key, _one)) == 1
    made = {key: executor for key, executor in threads._executors.items() if key not in before}
    assert {pid for pid, _ in made} == {-1}
    for of, executor in made.items():
        executor.shutdown()
        del threads._executors[of]


async def _one() -> int:
    return 1


def test_an_invocation_left_in_another_context() -> None:
    # As by the coroutine of a handler that the garbage collector closes.
    block = invocation(Context())
    contextvars.copy_context().run(block.__enter__)
    block.__exit__()


def test_a_claim_granted_to_an_acquire_that_is_thrown_away_is_given_back(client: Client) -> None:
    key = new_key()
    before = client.acquire(key)

    async def main() -> None:
        waiting = aio._answered(aio._acquire(client, {"key": key, "wait": 60}), client)
        waiting.send(None)
        waiting.close()  # As the garbage collector does.
        client.fail(before.token)

    asyncio.run(main())
    until = time.monotonic() + 30
    while (outcome := client.acquire(key)).status == "in_progress" and time.monotonic() < until:
        time.sleep(0.02)
    assert outcome.status == "acquired"
