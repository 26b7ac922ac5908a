"""An AWS Lambda handler that does each job once, with the lambda-idempotency layer.

It needs nothing but the standard library: copy this file and put your work into process().
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import time
import uuid
from typing import Any

FAILED = "An unexpected error has occurred."
DUPLICATE = "lambdaが多重起動したため処理を終了しました。"

# A failed job stays failed, so that Lambda's automatic retries do not run it again. With "1" they do.
RETRY_FAILED = os.environ.get("RETRY_FAILED") == "1"

logger = logging.getLogger(__name__)


def process(event: dict[str, Any]) -> Any:
    """The work: put your own here. What it returns has to fit JSON."""
    return {"processed": event["ObjKey"]}


def handler(event: dict[str, Any], context: Any) -> Any:
    claim = acquire([event["JobId"], event["ObjKey"]], context)
    if claim["status"] != "acquired":
        logger.warning(DUPLICATE)
        return answer_duplicate(claim)
    try:
        response = respond(process(event))
    except Exception as error:
        # The record names the error's type and the request; what else it says may be
        # confidential, and goes to the log of that request, with the traceback.
        logger.exception(FAILED)
        failure = {"type": type(error).__name__, "message": FAILED}
        end("/fail", {"token": claim["token"], "error": failure, "retry": RETRY_FAILED}, context)
        raise RuntimeError(FAILED) from error
    end("/complete", {"token": claim["token"], "result": response}, context)
    return response


def respond(body: Any) -> dict[str, Any]:
    return {"statusCode": 200, "body": json.dumps(body, allow_nan=False)}


def answer_duplicate(outcome: dict[str, Any]) -> Any:
    """A finished run's response; else what is known of the run, also with 200, so that Lambda does not retry."""
    if outcome["status"] == "completed" and "result" in outcome:
        return outcome["result"]
    return respond({name: outcome[name] for name in ("status", "error") if name in outcome})


# --- The sidecar ------------------------------------------------------------------------------------------------------

# Time kept for the handler's own answer when the sidecar does not answer.
MARGIN_S = 0.2
END_TRIES = 3
END_PAUSE_S = 0.5

# It connects at the first call and stays connected from one invocation to the next.
connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("IDEMPOTENCY_PORT", "2774")))


class SidecarError(Exception):
    """A call to the sidecar that was not answered as asked."""

    def __init__(self, message: str, temporary: bool) -> None:
        super().__init__(message)
        self.temporary = temporary


def acquire(key: list[str], context: Any) -> dict[str, Any]:
    """Asks whether this invocation may do the work.

    After a SidecarError it may not, and nothing is on record but, at most, a claim that lapses with this invocation.
    """
    return call("/acquire", {
        "key": key,
        "request_id": context.aws_request_id,
        "deadline_ms": int(time.time() * 1000) + context.get_remaining_time_in_millis(),
        # The same call sent twice is one claim, not a duplicate of itself.
        "client_token": uuid.uuid4().hex,
    }, context)


def end(path: str, body: dict[str, Any], context: Any) -> None:
    """Records how the work ended, and never raises: the caller gets the work's own result or error.

    When the store is away, the claim keeps duplicates out until this invocation's deadline, and the sidecar goes on
    trying to store this end, when the environment's next invocation begins as well. When the claim was lost to another run, the record is
    that run's. Either way, to raise here would only make Lambda do once more what was done.
    """
    for tries_left in reversed(range(END_TRIES)):
        try:
            call(path, body, context)
            return
        except SidecarError as error:
            time_left = context.get_remaining_time_in_millis() / 1000 - END_PAUSE_S
            if tries_left == 0 or not error.temporary or time_left < 2 * MARGIN_S:
                logger.error("The work ended, but that could not be recorded (%s): %s", path, error)
                return
        time.sleep(END_PAUSE_S)


def call(path: str, body: dict[str, Any], context: Any) -> dict[str, Any]:
    try:
        status, answer = exchange(path, json.dumps(body).encode(), context)
        told: dict[str, Any] = json.loads(answer)
    except ConnectionRefusedError as error:
        where = f"{connection.host}:{connection.port}"
        message = f"Nothing listens on {where}: is the lambda-idempotency layer attached?"
        raise SidecarError(message, temporary=True) from error
    except (OSError, http.client.HTTPException) as error:
        raise SidecarError(f"The sidecar did not answer {path}: {error!r}", temporary=True) from error
    except ValueError as error:
        raise SidecarError(f"What answered {path} is not the sidecar: {error}", temporary=False) from error
    if status != 200:
        problem = f"{status} {told.get('code')}: {told.get('detail')}"
        raise SidecarError(f"The sidecar answered {path} with {problem}", temporary=status >= 500)
    return told


def exchange(path: str, body: bytes, context: Any) -> tuple[int, bytes]:
    try:
        return post(path, body, context)
    except ConnectionRefusedError:
        raise
    except (ConnectionError, http.client.HTTPException):
        # A stale connection; each of these calls may be sent again.
        return post(path, body, context)


def post(path: str, body: bytes, context: Any) -> tuple[int, bytes]:
    connection.timeout = max(context.get_remaining_time_in_millis() / 1000 - MARGIN_S, MARGIN_S)
    if connection.sock:
        connection.sock.settimeout(connection.timeout)
    try:
        connection.request("POST", path, body, headers())
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        raise


def headers() -> dict[str, str]:
    """The secret shows that it is the function's own code that calls."""
    names = ("IDEMPOTENCY_AUTH_TOKEN", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN")
    secret = next((os.environ[name] for name in names if os.environ.get(name)), "")
    return {"Content-Type": "application/json", "X-Idempotency-Auth": secret}
