"""The work that all handlers do, and how often they did it."""

import os

times = 0
done = set()


class Refused(Exception):
    """The work fails when the event says so, or was done for the record."""


def work(event):
    global times
    times += 1
    if event.get("Dies"):
        os._exit(0)  # As where the sandbox is gone: nobody is told.
    if event.get("Fails"):
        raise Refused("the event says so")
    return {"done": event["JobId"], "text": event.get("Text", "")}


def record_work(record):
    """Fails for a record that it was done for already: as many times without a failure are as many records."""
    global times
    times += 1
    name = record["messageId"]
    if name in done:
        raise Refused(f"{name} was done already")
    done.add(name)
    return {"done": name}
