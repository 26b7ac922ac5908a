"""The work that all handlers do, and how often they did it."""

import os

times = 0


class Refused(Exception):
    """The work fails when the event says so."""


def work(event):
    global times
    times += 1
    if event.get("Dies"):
        os._exit(0)  # As where the sandbox is gone: nobody is told.
    if event.get("Fails"):
        raise Refused("the event says so")
    return {"done": event["JobId"], "text": event.get("Text", "")}


def record_work(record):
    global times
    times += 1
    return {"done": record["messageId"]}
