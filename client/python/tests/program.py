"""The real sidecar, on a store in memory."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from typing import Any

BINARY = os.environ.get("LAMBDA_IDEMPOTENCY_BINARY") or str(pathlib.Path(__file__).parents[3] / "bin" / "lambda-idempotency")
SECRET = "the-functions-own-secret"
START_S = 60


class Sidecar:
    def __init__(self, port: int | None = None, store: str = "memory", **settings: str) -> None:
        if not os.path.exists(BINARY):
            raise FileNotFoundError(f"{BINARY} is not there: run `make build`, or name the binary in LAMBDA_IDEMPOTENCY_BINARY")
        self.port = port or free_port()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("IDEMPOTENCY_", "AWS_"))}
        env = {
            **kept,
            "IDEMPOTENCY_STORE": store,
            "IDEMPOTENCY_PORT": str(self.port),
            "IDEMPOTENCY_AUTH_TOKEN": SECRET,
            "IDEMPOTENCY_LOG_LEVEL": "error",
            **settings,
        }
        self._process = subprocess.Popen([BINARY], env=env)
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + START_S
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=START_S):
                    return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def record(self, key: str, scope: str | None = None) -> dict[str, Any]:
        query = urllib.parse.urlencode([("key", key), *([("scope", scope)] if scope is not None else [])])
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/record?{query}", headers={"X-Idempotency-Auth": SECRET})
        with urllib.request.urlopen(request, timeout=START_S) as got:
            told: dict[str, Any] = json.load(got)
            return told

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
