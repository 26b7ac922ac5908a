"""A handler for the end-to-end tests of the runtime proxy, which knows nothing of idempotency. It does what plain's main.go does."""

import os
import time

if os.environ.get("FAIL_INIT"):
    raise RuntimeError("the init fails")


def handler(event, context):
    order, do = event["order"], event.get("do", "")
    print(f"run of {order}: {do}", flush=True)
    answer = {"order": order, "request": context.aws_request_id}
    if do == "error":
        raise RuntimeError("the carrier did not answer")
    if do == "exit":
        os._exit(1)
    if do == "sleep":
        time.sleep(60)
    while do == "gate" and not os.path.exists(os.environ["GATE"]):
        time.sleep(0.005)
    if do == "large":
        answer["pad"] = "x" * ((6 << 20) - 200)
    if do == "huge":
        answer["pad"] = "x" * (7 << 20)
    if do == "nothing":
        return None
    return answer
