"""Runs the handlers beside it and prints what that took, as JSON: driver.py cold before|after bare|lambda, or driver.py calls WARM ROUNDS."""

import importlib
import os
import sys
from time import perf_counter_ns as now

RUN = os.urandom(8).hex()


class Context:
    def __init__(self, number):
        self.aws_request_id = f"request-{RUN}-{number}"

    def get_remaining_time_in_millis(self):
        return 30_000


def event(number):
    return {"JobId": f"{RUN}-{number}", "ObjKey": "a/b"}


def timed(handler, *arguments):
    begin = now()
    result = handler(*arguments)
    return now() - begin, result


def cold(which, on):
    if on == "lambda":
        importlib.import_module("awslambdaric.bootstrap")  # What Lambda has imported before it imports the handler.
    load, module = timed(importlib.import_module, which)
    call, _ = timed(module.handler, event(0), Context(0))
    return {"load_ns": load, "call_ns": call}


def calls(warm, rounds):
    plain, protected = importlib.import_module("before").handler, importlib.import_module("after").handler
    times = {"plain": [], "first": [], "duplicate": []}
    for number in range(warm + rounds):
        results = []
        for kind, handler in (("plain", plain), ("first", protected), ("plain", plain), ("duplicate", protected)):
            took, result = timed(handler, event(number), Context(number))
            results.append(result)
            if number >= warm:
                times[kind].append(took)
        if results != [results[0]] * 4:
            sys.exit(f"the results differ: {results}")
    return times


if __name__ == "__main__":
    answer = cold(*sys.argv[2:]) if sys.argv[1] == "cold" else calls(*map(int, sys.argv[2:]))
    import json

    print(json.dumps(answer))
