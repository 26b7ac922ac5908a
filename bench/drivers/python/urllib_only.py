"""The sidecar's API called with the standard library alone."""

import json
import os
import urllib.error
import urllib.request

from work import work

URL = f"http://127.0.0.1:{os.environ['IDEMPOTENCY_PORT']}"


def call(path, **body):
    request = urllib.request.Request(
        URL + path,
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "X-Idempotency-Auth": os.environ["IDEMPOTENCY_AUTH_TOKEN"]},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise RuntimeError(error.read().decode()) from error


def handler(event, context):
    claim = call("/acquire", event=event, key_jmespath="[JobId, ObjKey]", request_id=context.aws_request_id, lease_ms=30_000)
    if claim["status"] == "completed":
        return claim["result"]
    if claim["status"] != "acquired":
        raise RuntimeError(claim["status"])
    try:
        result = work(event)
    except Exception as error:
        call("/fail", token=claim["token"], error={"type": type(error).__name__, "message": str(error)})
        raise
    call("/complete", token=claim["token"], result=result)
    return result
