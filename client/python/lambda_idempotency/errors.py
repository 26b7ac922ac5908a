"""What the wrappers and the verbs raise."""

from __future__ import annotations

TYPE_CHECKING = False  # see annotations.py
if TYPE_CHECKING:
    from typing import Any


class IdempotencyError(Exception):
    """The base of all errors of this package."""


class InProgressError(IdempotencyError):
    """Another run holds the key."""

    def __init__(self, request_id: str = "", retry_after: float = 0.0, lease_expires_at: int = 0) -> None:
        super().__init__(request_id, retry_after, lease_expires_at)
        self.request_id = request_id
        """The invocation that holds the key; empty if it is not known."""
        self.retry_after = retry_after
        """Seconds after which it may be worth asking again."""
        self.lease_expires_at = lease_expires_at
        """When that claim lapses by itself, in epoch milliseconds; 0 if it is not known."""

    def __str__(self) -> str:
        who = f"in request {self.request_id}" if self.request_id else "elsewhere"
        return f"the work is in progress {who}; ask again in {self.retry_after:g} s"


class FailedError(IdempotencyError):
    """An earlier run failed for good; the work is not run again."""

    def __init__(self, type: str = "", message: str = "") -> None:
        super().__init__(type, message)
        self.type = type
        """The type of that run's error."""
        self.message = message
        """The message of that run's error."""

    def __str__(self) -> str:
        return f"an earlier run failed for good: {self.type}: {self.message}"


class ProblemError(IdempotencyError):
    """The call was not answered as asked. docs/problems.md says of each code what to do."""

    def __init__(self, status: int = 0, code: str = "", detail: str = "") -> None:
        super().__init__(status, code, detail)
        self.status = status
        """The HTTP status; 0 if there was no answer."""
        self.code = code
        """The sidecar's code; empty if it was not the sidecar that answered."""
        self.detail = detail
        """What is wrong, for people."""

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}" if self.code else self.detail


class PayloadMismatchError(ProblemError):
    """The key was used with another payload: two different pieces of work have one key."""


class ClaimLostError(ProblemError):
    """The claim lapsed and another run took the key, or the claim was ended already in another way."""

    def __init__(self, status: int = 0, code: str = "", detail: str = "", result: Any = None) -> None:
        super().__init__(status, code, detail)
        self.result = result
        """What the work returned, where it had ended."""


class UnavailableError(ProblemError):
    """No sidecar, no answer in time, or no store. ``code`` is empty if nothing was answered."""

    def __init__(self, status: int = 0, code: str = "", detail: str = "", retry_after: float | None = None) -> None:
        super().__init__(status, code, detail)
        self.retry_after = retry_after
        """Seconds after which to try again, if the answer said so."""


class ResultError(IdempotencyError):
    """The work is done, but what it returned is no JSON. It is not run again; duplicates get ``None``."""

    def __init__(self, reason: str = "", result: Any = None) -> None:
        super().__init__(reason, result)
        self.reason = reason
        """Which part of the result is no JSON."""
        self.result = result
        """What the work returned."""

    def __str__(self) -> str:
        return f"the work is done and will not be run again, but its result is not stored and duplicates get None: {self.reason}"
