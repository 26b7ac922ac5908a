from __future__ import annotations

import copy
import pickle

import pytest

from lambda_idempotency import (
    ClaimLostError,
    FailedError,
    IdempotencyError,
    InProgressError,
    PayloadMismatchError,
    ProblemError,
    ResultError,
    UnavailableError,
)

ERRORS: list[tuple[IdempotencyError, str]] = [
    (InProgressError("r0", 1.5), "the work is in progress in request r0; ask again in 1.5 s"),
    (InProgressError("", 0.1), "the work is in progress elsewhere; ask again in 0.1 s"),
    (FailedError("CardRefused", "stolen"), "an earlier run failed for good: CardRefused: stolen"),
    (ProblemError(400, "key_missing", "nothing was selected"), "key_missing: nothing was selected"),
    (PayloadMismatchError(422, "payload_mismatch", "another"), "payload_mismatch: another"),
    (ClaimLostError(409, "claim_lost", "taken", 42), "claim_lost: taken"),
    (UnavailableError(503, "store_unavailable", "away", 2.0), "store_unavailable: away"),
    (UnavailableError(detail="nothing listens"), "nothing listens"),
    (
        ResultError("the result is nan", 1),
        "the work is done and will not be run again, but its result is not stored and duplicates get None: the result is nan",
    ),
]


@pytest.mark.parametrize(("error", "text"), ERRORS, ids=lambda value: type(value).__name__)
def test_an_error_keeps_what_it_carries(error: IdempotencyError, text: str) -> None:
    # Errors cross from process to process with pickle.
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is type(error)
        assert vars(other) == vars(error)
        assert str(other) == str(error) == text


def test_what_is_a_problem() -> None:
    assert issubclass(ProblemError, IdempotencyError)
    for kind in (PayloadMismatchError, ClaimLostError, UnavailableError):
        assert issubclass(kind, ProblemError)
    for other in (InProgressError, FailedError, ResultError):
        assert not issubclass(other, ProblemError)
        assert issubclass(other, IdempotencyError)
