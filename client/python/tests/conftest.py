from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lambda_idempotency import Client
from lambda_idempotency.client import default_client

from . import program


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test sees the settings of the machine, nor a connection of another test."""
    for name in list(os.environ):
        if name.startswith(("IDEMPOTENCY_", "AWS_")):
            monkeypatch.delenv(name)
    yield
    default_client().close()


@pytest.fixture(scope="session")
def running() -> Iterator[program.Sidecar]:
    sidecar = program.Sidecar()
    yield sidecar
    sidecar.kill()


@pytest.fixture
def sidecar(running: program.Sidecar, monkeypatch: pytest.MonkeyPatch) -> program.Sidecar:
    """The real sidecar, where the clients look for it."""
    monkeypatch.setenv("IDEMPOTENCY_PORT", str(running.port))
    monkeypatch.setenv("IDEMPOTENCY_AUTH_TOKEN", program.SECRET)
    return running


@pytest.fixture
def client(sidecar: program.Sidecar) -> Iterator[Client]:
    made = Client()
    yield made
    made.close()
