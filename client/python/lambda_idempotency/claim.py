"""What an acquire is answered, and the claim that a run holds on its key."""

from __future__ import annotations

from contextvars import ContextVar, Token

TYPE_CHECKING = False  # see annotations.py
if TYPE_CHECKING:
    from typing import Any

    from .annotations import Seconds, Verbs


class Failure:
    """The type and the message of an error that a run ended with."""

    __slots__ = ("message", "type")

    def __init__(self, type: str, message: str) -> None:
        self.type = type
        self.message = message

    def __repr__(self) -> str:
        return f"Failure(type={self.type!r}, message={self.message!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Failure) and (self.type, self.message) == (other.type, other.message)

    def __hash__(self) -> int:
        return hash((self.type, self.message))


class Outcome:
    """The answer to an acquire. ``status`` says which of the others have a meaning."""

    status: str
    """``acquired``, ``completed``, ``failed`` or ``in_progress``."""
    token: str = ""
    fence: int = 0
    attempt: int = 0
    lease_expires_at: int = 0
    previous_error: Failure | None = None
    unprotected: bool = False
    result: Any = None
    result_omitted: bool = False
    completed_at: int = 0
    error: Failure | None = None
    failed_at: int = 0
    retry_after: float = 0.0
    request_id: str = ""

    def __init__(self, answer: dict[str, Any]) -> None:
        # The sidecar's names are those of the attributes, but for what follows.
        vars(self).update(answer)
        if self.status == "acquired" and not ("token" in answer and "fence" in answer):
            raise KeyError("token")
        if "error" in answer:
            self.error = _failure(answer["error"])
        if "previous_error" in answer:
            self.previous_error = _failure(answer["previous_error"])
        if "retry_after_ms" in answer:
            self.retry_after = answer["retry_after_ms"] / 1000

    def __repr__(self) -> str:
        return f"<Outcome {self.status}>"  # Neither the token nor the result belongs in a log.


def _failure(told: dict[str, Any] | None) -> Failure | None:
    return Failure(told.get("type", ""), told.get("message", "")) if told else None


class Claim:
    """What a run knows of its claim. The work gets it with ``current_claim()``."""

    token: str
    """The only way to end or renew the claim: a secret."""
    fence: int
    """A number that only grows for a key. A downstream store that checks it keeps out a late writer."""
    attempt: int
    """1 for the first run of the key, 2 for the one after it failed, and so on."""
    previous_error: Failure | None
    """How the run before this one failed."""
    lease_expires_at: int
    """Epoch milliseconds until which the claim holds."""
    unprotected: bool
    """True if the store is away and the sidecar is set to let work run all the same."""

    def __init__(self, client: Verbs, outcome: Outcome) -> None:
        self._client = client
        self._hold(outcome)

    def _hold(self, outcome: Outcome) -> None:
        self.token = outcome.token
        self.fence = outcome.fence
        self.attempt = outcome.attempt
        self.previous_error = outcome.previous_error
        self.lease_expires_at = outcome.lease_expires_at
        self.unprotected = outcome.unprotected

    def renew(self, lease: Seconds | None = None) -> int:
        """Holds the claim for ``lease`` seconds from now, never shorter than it holds already.

        Returns the new ``lease_expires_at``. Raises ClaimLostError if another run has the key.
        """
        self.lease_expires_at = self._client.renew(self.token, lease=lease)
        return self.lease_expires_at

    async def renew_async(self, lease: Seconds | None = None) -> int:
        """Is ``renew`` for a coroutine."""
        from .threads import to_its_end

        self.lease_expires_at = await to_its_end(self._client.renew, self.token, lease=lease)
        return self.lease_expires_at


_current: ContextVar[Claim | None] = ContextVar("lambda_idempotency_claim", default=None)


def current_claim() -> Claim:
    """The claim under which the caller runs: within the work of a decorated function, of ``run`` or of a block.

    A thread started by the work does not inherit it (as it is with every contextvar); hand it the claim.
    """
    claim = _current.get()
    if claim is None:
        raise RuntimeError("there is no claim: the caller does not run within idempotent work")
    return claim


def enter(claim: Claim) -> Token[Claim | None]:
    return _current.set(claim)


def leave(before: Token[Any]) -> None:
    try:
        _current.reset(before)
    except ValueError:
        return  # A coroutine that was never awaited to its end is closed in another context, which knows no claim.
