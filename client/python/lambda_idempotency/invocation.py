"""Which Lambda invocation the code is part of."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

TYPE_CHECKING = False  # see annotations.py
if TYPE_CHECKING:
    from typing import Any

_current: ContextVar[Any] = ContextVar("lambda_idempotency_invocation", default=None)


@contextmanager
def invocation(context: Any) -> Iterator[None]:
    """Tells the acquires within a block which invocation they belong to. ``@idempotent`` does so by itself.

    ``context`` is the handler's second argument.
    """
    before = _current.set(context)
    try:
        yield
    finally:
        _current.reset(before)


def request_id() -> str | None:
    found = getattr(_current.get(), "aws_request_id", None)
    return found if isinstance(found, str) and found else None


def deadline_ms() -> int | None:
    """When the invocation ends, in epoch milliseconds."""
    left = remaining_s()
    return None if left is None else int((time.time() + left) * 1000)


def remaining_s() -> float | None:
    """How many seconds the invocation has left."""
    remaining = getattr(_current.get(), "get_remaining_time_in_millis", None)
    left = remaining() if callable(remaining) else None
    # A context made for a test may give anything. A deadline that has passed is none.
    if isinstance(left, bool) or not isinstance(left, (int, float)) or not left > 0:
        return None
    return left / 1000
