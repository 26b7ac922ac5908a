"""A block of code as the work.

Python cannot skip a with-block, so the block itself has to ask whether the work is done. One that does not ask is told so
when it is first run.
"""

from __future__ import annotations

from contextvars import Token
from types import TracebackType

from . import claim as claims
from . import wrap
from .claim import Claim
from .client import ABSENT, Client, default_client

TYPE_CHECKING = False  # see annotations.py
if TYPE_CHECKING:
    from typing import Any

    from .annotations import FinalErrors, Key, Seconds
    from .claim import Outcome


class BlockClaim(Claim):
    """What a block gets: whether the work is done already, with its result, or else the claim to do it."""

    def __init__(self, client: Client, outcome: Outcome) -> None:
        self._client = client
        self._asked = False
        self._completed = outcome.status == "completed"
        self._result: Any = ABSENT
        if self._completed:
            self._result = wrap.replay(outcome)
        else:
            self._hold(outcome)

    def __getattr__(self, name: str) -> Any:
        # Only what is not there comes here: a duplicate has no token, no fence and so on.
        if name in Claim.__annotations__:
            raise AttributeError(f"there is no {name}: the work was done by another run (claim.completed)")
        raise AttributeError(name)

    @property
    def completed(self) -> bool:
        """True if the work was done by another run: use ``result`` and do nothing."""
        self._asked = True
        return self._completed

    @property
    def result(self) -> Any:
        """The stored result; assign to it what the work returns, if it returns anything."""
        if self._result is ABSENT:
            raise RuntimeError("there is no result yet: the work is this run's to do (claim.completed is False)")
        return self._result

    @result.setter
    def result(self, value: Any) -> None:
        if self._completed:
            raise RuntimeError("the work was done by another run, and has that run's result: ask claim.completed before doing it")
        self._result = value


class Block:
    """The context manager that ``idempotency`` makes. It can be entered once."""

    def __init__(self, client: Client, request: dict[str, Any], final_errors: FinalErrors) -> None:
        wrap.check_final(final_errors)
        self._client = client
        self._request = request
        self._final_errors = final_errors
        self._entered = False
        self._claim: BlockClaim | None = None
        self._before: Token[Any] | None = None

    def __enter__(self) -> BlockClaim:
        self._once()
        return self._begin(self._client.acquire(**self._request))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        held = self._leave()
        if not held._completed:
            if error is not None:
                wrap.fail(held, error, self._final_errors)
            else:
                wrap.complete(held, _outcome(held))
        if error is None:
            self._must_have_asked(held)

    async def __aenter__(self) -> BlockClaim:
        self._once()
        from .aio import AsyncClient

        return self._begin(await AsyncClient(self._client).acquire(**self._request))

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        from . import aio

        held = self._leave()
        if not held._completed:
            if error is not None:
                await aio.fail(held, error, self._final_errors)
            else:
                await aio.complete(held, _outcome(held))
        if error is None:
            self._must_have_asked(held)

    def _once(self) -> None:
        if self._entered:
            raise RuntimeError("this block was entered before: call idempotency(...) for each run")
        self._entered = True

    def _begin(self, outcome: Outcome) -> BlockClaim:
        if outcome.status not in ("acquired", "completed"):
            wrap.replay(outcome)  # It raises.
        self._claim = BlockClaim(self._client, outcome)
        if outcome.status == "acquired":
            self._before = claims.enter(self._claim)
        return self._claim

    def _leave(self) -> BlockClaim:
        if self._before is not None:
            claims.leave(self._before)
        assert self._claim is not None
        return self._claim

    def _must_have_asked(self, held: BlockClaim) -> None:
        if not held._asked:
            raise RuntimeError("the block never asked claim.completed, so a duplicate does the work again: begin with `if not claim.completed:`")


def _outcome(held: BlockClaim) -> Any:
    return None if held._result is ABSENT else held._result


def idempotency(
    key: Key,
    *,
    payload: Any = ABSENT,
    scope: str | None = None,
    ttl: Seconds | None = None,
    wait: Seconds | None = None,
    lease: Seconds | None = None,
    final_errors: FinalErrors = (),
    client: Client | None = None,
) -> Block:
    """A block that is done once per key, with ``with`` or ``async with``::

    with idempotency("order-1") as claim:
        if not claim.completed:
            claim.result = charge(order)
    return claim.result
    """
    request = {"key": key, "payload": payload, "scope": scope, "ttl": ttl, "wait": wait, "lease": lease}
    return Block(client or default_client(), request, final_errors)
