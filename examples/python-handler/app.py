"""An AWS Lambda handler that does each job once, with the lambda-idempotency layer.

The client comes with the layer: copy this file and put your work into process(). A failed job stays failed, and a
duplicate returns 200, as in the original sample; README.md names the one line that does otherwise.
"""

from __future__ import annotations

import json
import logging
import os
from typing import Any

from lambda_idempotency import ClaimLostError, FailedError, InProgressError, idempotency, invocation

FAILED = "An unexpected error has occurred."
DUPLICATE = "lambdaが多重起動したため処理を終了しました。"

# A failed job stays failed, so that Lambda's automatic retries do not run it again. With "1" they do.
RETRY_FAILED = os.environ.get("RETRY_FAILED") == "1"

logger = logging.getLogger(__name__)


def process(event: dict[str, Any]) -> Any:
    """The work: put your own here. What it returns has to fit JSON."""
    return {"processed": event["ObjKey"]}


def handler(event: dict[str, Any], context: Any) -> Any:
    key = [event["JobId"], event["ObjKey"]]
    final_errors = () if RETRY_FAILED else RuntimeError
    try:
        with invocation(context), idempotency(key, final_errors=final_errors) as claim:
            if claim.completed:
                logger.warning(DUPLICATE)
            else:
                claim.result = do(event)
        # A result that was too large to be stored is None to duplicates.
        return claim.result or respond({"status": "completed"})
    # What is known of the first launch, with 200, so that Lambda does not retry.
    except InProgressError:
        logger.warning(DUPLICATE)
        return respond({"status": "in_progress"})
    except FailedError as failed:
        logger.warning(DUPLICATE)
        return respond({"status": "failed", "error": {"type": failed.type, "message": failed.message}})
    except ClaimLostError as lost:
        # To raise here would only make Lambda do once more what was done.
        logger.error("The work was done, but another run had taken the job over, and its result stands: %s", lost)
        return lost.result


def do(event: dict[str, Any]) -> Any:
    try:
        return respond(process(event))
    except Exception as error:
        # What the error says may be confidential: the record and the caller are told of none of it, and the log
        # of this request of all, with the traceback.
        logger.exception(FAILED)
        raise RuntimeError(FAILED) from error


def respond(body: Any) -> dict[str, Any]:
    return {"statusCode": 200, "body": json.dumps(body, allow_nan=False)}
