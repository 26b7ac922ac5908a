"""Loads one contender and does what it is told: driver.py MODULE bare|lambda.

A line of JSON comes in and one goes out. Times are nanoseconds of the monotonic clock, which all processes share.
"""

import importlib
import os
import sys
from time import monotonic_ns as now
from time import process_time_ns as cpu

import work


class Context:
    function_name = "bench"
    memory_limit_in_mb = 1769
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:bench"

    def __init__(self, request_id, left):
        self.aws_request_id = request_id
        self.left = left

    def get_remaining_time_in_millis(self):
        return self.left


def measured(handler, events, left, may_fail):
    """What one call for each event took, and what they returned, or the name of the error that they raised."""
    calls = [(event, Context(f"{run}-{at}", left)) for at, event in enumerate(events)]
    times, results, ran, used = [], [], work.times, cpu()
    for event, context in calls:
        begin = now()
        try:
            result = handler(event, context)
        except Exception as error:
            if not may_fail:
                raise
            result = type(error).__name__
        times.append((begin, now()))
        results.append(result)
    return {"calls": times, "cpu": cpu() - used, "ran": work.times - ran}, results


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if sys.argv[2] == "lambda":
    importlib.import_module("awslambdaric.bootstrap")  # What Lambda has imported before it imports the handler.
begin, used = now(), cpu()
module = importlib.import_module(sys.argv[1])
loaded = {"calls": [(begin, now())], "cpu": cpu() - used}

import json  # noqa: E402

run = os.urandom(8).hex()
print(json.dumps(loaded), flush=True)
for line in sys.stdin:
    told = json.loads(line)
    if told["do"] == "resident":
        print(json.dumps({"resident": resident()}), flush=True)
        continue
    answer, results = measured(getattr(module, told["do"]), told["events"], told["left"], told.get("may_fail"))
    if told.get("results"):
        answer["results"] = results
    print(json.dumps(answer), flush=True)
