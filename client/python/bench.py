"""Measures what an import and a call cost: bench.py [PORT of a sidecar on a store in memory]."""

from __future__ import annotations

import http.client
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import uuid
from typing import Callable

RUNS = 41
# Deployed packages are compiled ahead.
ENV = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def cpu_ms(code: str) -> float:
    """The processor time of a process that runs some code: other work on the machine is not in it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-S", "-c", code], check=True, env=ENV)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def imports() -> None:
    codes = {name: f"import {name}" for name in ("lambda_idempotency", "http.client", "asyncio")}
    codes["lambda_idempotency, where the runtime has imported json and logging"] = "import json, logging, functools, lambda_idempotency"
    bases = dict.fromkeys(codes.values(), "pass")
    bases["import json, logging, functools, lambda_idempotency"] = "import json, logging, functools"
    for name, code in codes.items():
        cpu_ms(code)
        # In turn, so that a slower moment of the machine is one of both.
        pairs = [(cpu_ms(bases[code]), cpu_ms(code)) for _ in range(RUNS)]
        bare, whole = (statistics.median(side) for side in zip(*pairs))
        print(f"import {name}: +{whole - bare:.1f} ms of processor time, on {bare:.1f} ms")


def calls(port: int) -> None:
    from lambda_idempotency import Client

    client = Client(port=port)
    key = uuid.uuid4().hex
    client.run(key, lambda: {"receipt": 7})

    def first() -> None:
        client.run(uuid.uuid4().hex, lambda: {"receipt": 7})

    def duplicate() -> None:
        client.run(key, lambda: {"receipt": 0})

    connection = http.client.HTTPConnection("127.0.0.1", port)

    def by_http_client() -> None:
        connection.request("POST", "/acquire", json.dumps({"key": key}), {"Content-Type": "application/json"})
        json.loads(connection.getresponse().read())

    whats = ("a first run (two calls)", first), ("a duplicate (one call)", duplicate), ("the same with http.client", by_http_client)
    for what, call in whats:
        print(f"{what}: {measure(call)}")


def measure(call: Callable[[], None]) -> str:
    times, cpu = [], time.process_time()
    for _ in range(2000):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    cpu = time.process_time() - cpu
    return f"{statistics.median(times) * 1e6:.0f} µs in the median, {cpu / len(times) * 1e6:.0f} µs of this process's time"


if __name__ == "__main__":
    imports()
    if len(sys.argv) > 1:
        calls(int(sys.argv[1]))
