"""The claim that a run holds on its key."""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar, Token

TYPE_CHECKING = False  # see annotations.py
if TYPE_CHECKING:
    from typing import Any

    from .annotations import Seconds
    from .client import Client, Failure, Outcome


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

    def __init__(self, client: Client, outcome: Outcome) -> None:
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
        from .aio import AsyncClient

        self.lease_expires_at = await AsyncClient(self._client).renew(self.token, lease=lease)
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
    # A coroutine that was never awaited to its end is closed in another context, which knows no claim.
    with suppress(ValueError):
        _current.reset(before)
