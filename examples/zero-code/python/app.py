"""Ships an order. It knows nothing of idempotency."""

import json
import os


def handler(event, context):
    if event.get("fail"):
        raise RuntimeError("the carrier did not answer")
    with open(os.environ["SHIPPED"], "a", encoding="utf-8") as shipped:
        shipped.write(event["order"] + "\n")
    print(json.dumps({"shipped": event["order"]}))
    return {"order": event["order"], "tracking": context.aws_request_id}
