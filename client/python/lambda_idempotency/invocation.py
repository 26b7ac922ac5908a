"""Which Lambda invocation the code is part of."""

from __future__ import annotations

from contextvars import ContextVar

TYPE_CHECKING = False  # see annotations.py
if TYPE_CHECKING:
    from contextvars import Token
    from typing import Any

current: ContextVar[Any] = ContextVar("lambda_idempotency_invocation", default=None)


class invocation:
    """Tells the acquires within a block which invocation they belong to. ``@idempotent`` does so by itself.

    ``context`` is the handler's second argument.
    """

    __slots__ = ("_before", "_context")

    def __init__(self, context: Any) -> None:
        self._context = context

    def __enter__(self) -> None:
        self._before: Token[Any] = current.set(self._context)

    def __exit__(self, *_: object) -> None:
        try:
            current.reset(self._before)
        except ValueError:
            return  # A coroutine that was never awaited to its end is closed in another context.


def request_id() -> str | None:
    found = getattr(current.get(), "aws_request_id", None)
    return found if isinstance(found, str) and found else None


def remaining_ms() -> float | None:
    """How many milliseconds the invocation has left."""
    remaining = getattr(current.get(), "get_remaining_time_in_millis", None)
    left = remaining() if callable(remaining) else None
    # A context made for a test may give anything. A deadline that has passed is none.
    if isinstance(left, bool) or not isinstance(left, (int, float)) or not 0 < left < 1e12:
        return None
    return left
