"""Threads for the calls of coroutines: a call blocks one of them, and the event loop goes on."""

from __future__ import annotations

import asyncio
import contextvars
import os
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

TYPE_CHECKING = False  # see annotations.py
if TYPE_CHECKING:
    from typing import Any, Callable

    from .annotations import R

_executors: dict[tuple[int, str], ThreadPoolExecutor] = {}


def _executor(of: str, threads: int) -> ThreadPoolExecutor:
    # A fork takes the executor along, but none of its threads.
    key = (os.getpid(), of)
    if key not in _executors:
        made = ThreadPoolExecutor(threads, f"lambda_idempotency-{of}")
        if _executors.setdefault(key, made) is not made:  # Another event loop was faster.
            made.shutdown(wait=False)
    return _executors[key]


def begin_acquire(call: Callable[[], R]) -> Future[R]:
    # The acquires have threads of their own: those that wait for another run's end must not keep it from being told.
    # The context tells of the invocation.
    return _executor("acquire", 64).submit(contextvars.copy_context().run, call)


async def to_its_end(call: Callable[..., R], *args: Any, **options: Any) -> R:
    """Waits for a call that ends or renews a claim, to its end also if the waiting is cancelled."""
    future = asyncio.wrap_future(_executor("end", 16).submit(partial(call, *args, **options)))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait({future})
        if not future.cancelled():
            future.exception()  # Nobody else will look at it.
        raise
