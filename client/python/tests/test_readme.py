"""The README's snippets run as they stand, against the real sidecar."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest

import lambda_idempotency
from lambda_idempotency import ClaimLostError, PayloadMismatchError

from .invocations import Context
from .program import Sidecar

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(snippet: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(snippet, "README.md", "exec"), names)
    return names


def test_the_handler(sidecar: Sidecar) -> None:
    handler = run(SNIPPETS[0])["handler"]
    assert handler({"JobId": "12345", "ObjKey": "a/b"}, Context()) == {"done": "12345"}
    assert handler({"ObjKey": "a/b", "JobId": "12345", "more": 1}, Context("r2")) == {"done": "12345"}


def test_the_wrappers(sidecar: Sidecar, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        names = run(SNIPPETS[1])
        assert names["receipt"] == {"receipt": 7}
    assert capsys.readouterr().out == "{'receipt': 8}\n" * 2
    first = names["pay"]({"id": 1, "amount": 10})
    assert first["paid"] == 10
    assert names["pay"]({"id": 1, "amount": 10}) == first
    with pytest.raises(PayloadMismatchError):
        names["pay"]({"id": 1, "amount": 11})


def test_the_batch(sidecar: Sidecar, capsys: pytest.CaptureFixture[str]) -> None:
    handler = run(SNIPPETS[2])["handler"]
    records = [{"messageId": f"m{i}", "body": f'{{"orderId": {i // 2}}}'} for i in range(4)]
    for _ in range(2):
        assert handler({"Records": records}, Context()) == {"batchItemFailures": []}
    assert capsys.readouterr().out == "shipping 0\nshipping 1\n"


def test_the_verbs(sidecar: Sidecar) -> None:
    assert run(SNIPPETS[3])["outcome"].status == "acquired"
    again = run(SNIPPETS[3])["outcome"]
    assert (again.status, again.result) == ("completed", {"receipt": 9})


def test_the_list_of_errors_is_whole() -> None:
    named = set(re.findall(r"^\| `(\w+Error)` \|", README, re.MULTILINE))
    assert ClaimLostError.__name__ in named
    assert named == {name for name in lambda_idempotency.__all__ if name.endswith("Error")} - {"IdempotencyError"}


def test_the_list_of_options_is_whole() -> None:
    import inspect

    named = set(re.findall(r"^\| `(\w+)` \|", README.split("## Options")[1].split("##")[0], re.MULTILINE))
    assert named == set(inspect.signature(lambda_idempotency.idempotency).parameters)
