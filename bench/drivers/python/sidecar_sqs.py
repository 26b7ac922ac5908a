"""A queue's batch: all claims in one call, and all their ends in another."""

import http.client
import json
import os
import uuid

from work import record_work

AUTH = os.environ["IDEMPOTENCY_AUTH_TOKEN"]
connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["IDEMPOTENCY_PORT"]))


def call(path, items):
    connection.request("POST", path, json.dumps({"items": items}), {"Content-Type": "application/json", "X-Idempotency-Auth": AUTH})
    with connection.getresponse() as answer:
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(text.decode())
    return json.loads(text)["items"]


def sqs(event, context):
    records, once, failures = event["Records"], uuid.uuid4().hex, []
    claims = call(
        "/acquire/batch",
        [
            {"key": record["messageId"], "request_id": context.aws_request_id, "lease_ms": 30_000, "client_token": f"{once}-{at}"}
            for at, record in enumerate(records)
        ],
    )
    done, failed = [], []
    for record, claim in zip(records, claims):
        if claim.get("status") == "completed":
            continue
        if claim.get("status") != "acquired":
            failures.append(record["messageId"])
            continue
        try:
            done.append({"token": claim["token"], "result": record_work(record)})
        except Exception as error:
            failed.append({"token": claim["token"], "error": {"type": type(error).__name__, "message": str(error)}})
            failures.append(record["messageId"])
    for path, ends in (("/complete/batch", done), ("/fail/batch", failed)):
        for end in call(path, ends) if ends else ():
            if "status" not in end or isinstance(end["status"], int):
                raise RuntimeError(f"{path}: {end}")
    return {"batchItemFailures": [{"itemIdentifier": failure} for failure in failures]}
