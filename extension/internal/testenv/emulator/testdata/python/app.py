"""A function that does what its event says."""

import os
import time


def handler(event, context):
    print("function does", event["do"], flush=True)
    time.sleep(event.get("sleep", 0) / 1000)
    if event["do"] == "fail":
        raise ValueError("failed as asked")
    if event["do"] == "exit":
        os._exit(1)
    return {"did": event["do"], "pid": os.getpid(), "requestId": context.aws_request_id}
