"""Runs work once per key, through the lambda-idempotency extension.

from lambda_idempotency import idempotent

@idempotent(key="[JobId, ObjKey]")
def handler(event, context):
    return work(event)
"""

from __future__ import annotations

from .block import Block, BlockClaim, idempotency
from .claim import Claim, Failure, Outcome, current_claim
from .client import ABSENT, Client, default_client
from .decorators import idempotent, idempotent_function
from .errors import (
    ClaimLostError,
    FailedError,
    IdempotencyError,
    InProgressError,
    PayloadMismatchError,
    ProblemError,
    ResultError,
    UnavailableError,
)
from .invocation import invocation

TYPE_CHECKING = False  # see annotations.py
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any, Callable

    from .aio import AsyncClient
    from .annotations import FinalErrors, Key, R, Seconds
    from .batch import idempotent_batch

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "Block",
    "BlockClaim",
    "Claim",
    "ClaimLostError",
    "Client",
    "FailedError",
    "Failure",
    "IdempotencyError",
    "InProgressError",
    "Outcome",
    "PayloadMismatchError",
    "ProblemError",
    "ResultError",
    "UnavailableError",
    "current_claim",
    "idempotency",
    "idempotent",
    "idempotent_batch",
    "idempotent_function",
    "invocation",
    "run",
    "run_async",
]


def run(
    key: Key,
    fn: Callable[[], R],
    *,
    payload: Any = ABSENT,
    scope: str | None = None,
    ttl: Seconds | None = None,
    wait: Seconds | None = None,
    lease: Seconds | None = None,
    final_errors: FinalErrors = (),
) -> R:
    """Runs ``fn`` once per key and returns its result; a duplicate gets the result of the run that was."""
    return default_client().run(key, fn, payload=payload, scope=scope, ttl=ttl, wait=wait, lease=lease, final_errors=final_errors)


async def run_async(
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
    """Is ``run`` for an ``async def``."""
    from .aio import AsyncClient

    return await AsyncClient().run(key, fn, payload=payload, scope=scope, ttl=ttl, wait=wait, lease=lease, final_errors=final_errors)


def __getattr__(name: str) -> Any:
    # asyncio takes longer to import than all the rest, so only those import it who use it; batches are of few functions.
    if name == "AsyncClient":
        from .aio import AsyncClient

        return AsyncClient
    if name == "idempotent_batch":
        from .batch import idempotent_batch

        return idempotent_batch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
