"""The same for coroutines.

The standard library has no HTTP for asyncio, so a call blocks a thread; see threads.py.
"""

from __future__ import annotations

import asyncio
from functools import partial

from . import claim as claims
from . import wrap
from .claim import Claim
from .client import ABSENT, Client, default_client
from .threads import begin_acquire, to_its_end

TYPE_CHECKING = False  # see annotations.py
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from concurrent.futures import Future
    from typing import Any, Callable

    from .annotations import FinalErrors, Key, R, Seconds
    from .claim import Failure, Outcome


def _acquire(client: Client, request: dict[str, Any]) -> Future[Outcome]:
    return begin_acquire(partial(client.acquire, **request))


async def _answered(future: Future[Outcome], client: Client) -> Outcome:
    try:
        return await asyncio.wrap_future(future)
    except (asyncio.CancelledError, GeneratorExit):
        # A claim that is granted to nobody is given back.
        future.add_done_callback(partial(_give_back, client))
        raise


def _give_back(client: Client, future: Future[Outcome]) -> None:
    if future.cancelled() or future.exception() or future.result().status != "acquired":
        return
    outcome = future.result()
    wrap.fail(Claim(client, outcome), asyncio.CancelledError(), ())


class AsyncClient:
    """Is ``Client`` for coroutines."""

    def __init__(self, client: Client | None = None) -> None:
        self._client = client or default_client()

    async def acquire(
        self,
        key: Key | None = None,
        *,
        event: Any = ABSENT,
        key_jmespath: str | None = None,
        payload: Any = ABSENT,
        scope: str | None = None,
        ttl: Seconds | None = None,
        wait: Seconds | None = None,
        lease: Seconds | None = None,
        detached: bool = False,
        request_id: str | None = None,
        deadline_ms: int | None = None,
        client_token: str | None = None,
    ) -> Outcome:
        """As ``Client.acquire``. If it is cancelled, a claim that is granted all the same is given back."""
        request = {
            "key": key, "event": event, "key_jmespath": key_jmespath, "payload": payload, "scope": scope, "ttl": ttl, "wait": wait, "lease": lease,
            "detached": detached, "request_id": request_id, "deadline_ms": deadline_ms, "client_token": client_token,
        }  # fmt: skip
        return await _answered(_acquire(self._client, request), self._client)

    async def complete(self, token: str, result: Any = None, *, ttl: Seconds | None = None) -> None:
        """As ``Client.complete``."""
        await to_its_end(self._client.complete, token, result, ttl=ttl)

    async def fail(self, token: str, error: BaseException | Failure | None = None, *, retry: bool = True) -> None:
        """As ``Client.fail``."""
        await to_its_end(self._client.fail, token, error, retry=retry)

    async def renew(self, token: str, *, lease: Seconds | None = None) -> int:
        """As ``Client.renew``."""
        return await to_its_end(self._client.renew, token, lease=lease)

    async def run(
        self,
        key: Key,
        fn: Callable[[], Awaitable[R]],
        *,
        payload: Any = ABSENT,
        scope: str | None = None,
        ttl: Seconds | None = None,
        wait: Seconds | None = None,
        lease: Seconds | None = None,
        final_errors: FinalErrors = (),
    ) -> R:
        """As ``Client.run``, for an ``async def``."""
        wrap.check_final(final_errors)
        request = {"key": key, "payload": payload, "scope": scope, "ttl": ttl, "wait": wait, "lease": lease}
        return await run(self._client, request, fn, final_errors)


async def run(client: Client, request: dict[str, Any], work: Callable[[], Awaitable[R]], final_errors: FinalErrors) -> R:
    outcome = await _answered(_acquire(client, request), client)
    if outcome.status != "acquired":
        done: R = wrap.replay(outcome)
        return done
    held = Claim(client, outcome)
    before = claims.enter(held)
    try:
        result = await work()
    except BaseException as error:
        await fail(held, error, final_errors)
        raise
    finally:
        claims.leave(before)
    await complete(held, result)
    return result


async def fail(held: Claim, error: BaseException, final_errors: FinalErrors) -> None:
    if isinstance(error, GeneratorExit):
        # The coroutine was thrown away by the garbage collector: it may not wait for anything anymore.
        wrap.fail(held, error, final_errors)
    else:
        await to_its_end(wrap.fail, held, error, final_errors)


async def complete(held: Claim, result: Any) -> None:
    await to_its_end(wrap.complete, held, result)
