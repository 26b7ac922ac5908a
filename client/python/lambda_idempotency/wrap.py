"""What all wrappers do: acquire, the work, and complete or fail."""

from __future__ import annotations

from . import claim as claims
from .claim import Claim
from .encoding import encode
from .errors import ClaimLostError, FailedError, IdempotencyError, InProgressError, ProblemError, ResultError
from .warn import warn

TYPE_CHECKING = False  # see annotations.py
if TYPE_CHECKING:
    from typing import Any, Callable, NoReturn

    from .annotations import FinalErrors, R, Verbs
    from .claim import Outcome


def run(client: Verbs, request: dict[str, Any], work: Callable[[], R], final_errors: FinalErrors) -> R:
    outcome: Outcome = client.acquire(**request)
    if outcome.status != "acquired":
        done: R = replay(outcome)
        return done
    held = Claim(client, outcome)
    before = claims.enter(held)
    try:
        result = work()
        refuse_awaitable(result)
    except BaseException as error:
        fail(held, error, final_errors)
        raise
    finally:
        claims.leave(before)
    complete(held, result)
    return result


def replay(outcome: Outcome) -> Any:
    """The result of the run that was, or the error that says why there is none."""
    if outcome.status == "completed":
        if outcome.result_omitted:
            warn("the work was done by request %s, but its result was too large to be stored; None takes its place", outcome.request_id or "unknown")
        return outcome.result
    if outcome.status == "failed":
        failure = outcome.error
        raise FailedError(failure.type if failure else "", failure.message if failure else "")
    raise InProgressError(outcome.request_id, outcome.retry_after, outcome.lease_expires_at)


def complete(held: Claim, result: Any) -> None:
    """Ends the claim of work that is done: an error here must not make the caller repeat it without need."""
    try:
        text = encode("the result", result)
    except Exception as error:  # A MemoryError, and whatever a class of its own raises when it is asked for its items.
        complete_without_result(held)
        reason = str(error) if isinstance(error, (TypeError, ValueError)) else f"the result is no JSON: {error!r}"
        raise ResultError(reason, result) from error
    try:
        held._client.complete_encoded(held.token, text)
    except ClaimLostError as error:
        lost(error, result)
    except ProblemError as error:
        refused(held, error, result)


def lost(error: ClaimLostError, result: Any) -> NoReturn:
    raise ClaimLostError(error.status, error.code, error.detail, result) from error


def refused(held: Claim, error: ProblemError, result: Any) -> None:
    """What becomes of work that is done and whose result was not stored. Each way its end is tried to be."""
    if error.code == "too_large":
        warn("the work is done, but its result is too large to be sent; duplicates get None: %s", error)
        complete_without_result(held)
    elif error.code == "bad_request":
        complete_without_result(held)
        raise ResultError(error.detail, result) from error
    else:
        warn_of_end(error)


def complete_without_result(held: Claim) -> None:
    try:
        held._client.complete_encoded(held.token, None)
    except IdempotencyError as error:
        warn_of_end(error)


def warn_of_end(error: IdempotencyError) -> None:
    # The sidecar goes on trying to store an end that it knows of, and the claim holds until its deadline.
    warn("the work is done, but that could not be stored: %s", error)


def fail(held: Claim, error: BaseException, final_errors: FinalErrors) -> None:
    """Ends the claim of work that failed; what goes wrong here never hides the work's own error."""
    try:
        held._client.fail(held.token, error, retry=not isinstance(error, final_errors))
    except IdempotencyError as problem:
        warn("the work failed, but that could not be stored: %s", problem)


def check_final(final_errors: FinalErrors) -> None:
    """Raises a TypeError before the work rather than after it."""
    isinstance(None, final_errors)


def refuse_awaitable(result: Any) -> None:
    if hasattr(result, "__await__"):
        if hasattr(result, "close"):
            result.close()
        raise TypeError("the work returned an awaitable, so it has not run: decorate the async def itself, or use run_async")
