"""What an import costs is what it imports: that can be told without a clock. bench.py has the times."""

from __future__ import annotations

import ast
import graphlib
import pathlib
import subprocess
import sys

import pytest

import lambda_idempotency

SLOW = ("asyncio", "concurrent", "email", "http", "inspect", "logging", "ssl", "urllib", "uuid", "random", "dataclasses", "typing")

HANDLER = """
from lambda_idempotency import idempotent, idempotent_function, Client
@idempotent(key="[JobId, ObjKey]")
def handler(event, context):
    return 1
@idempotent_function(key=lambda order: order)
def pay(order):
    return 1
"""


@pytest.mark.parametrize("code", ["import lambda_idempotency", HANDLER], ids=["import", "handler"])
def test_nothing_slow_is_imported(code: str) -> None:
    told = f"import sys\n{code}\nprint([name for name in {SLOW!r} if name in sys.modules])"
    # -S: what the site's packages import at start is not this package's doing.
    got = subprocess.run([sys.executable, "-S", "-c", told], check=True, capture_output=True, text=True)
    assert got.stdout.strip() == "[]"


def test_no_module_imports_itself_through_others() -> None:
    package = pathlib.Path(lambda_idempotency.__file__).parent
    names = {path.stem for path in package.glob("*.py")}
    imports: dict[str, set[str]] = {name: set() for name in names}
    for name in names - {"__init__"}:  # What a user imports may know all.
        for node in ast.walk(ast.parse((package / f"{name}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                # Those within functions and for type checkers, too.
                imports[name] |= {node.module} if node.module else {alias.name for alias in node.names}
    assert imports["decorators"] >= {"aio", "client", "wrap"}
    graphlib.TopologicalSorter(imports).prepare()  # It raises a CycleError.


def test_the_names_there_are() -> None:
    for name in lambda_idempotency.__all__:
        assert getattr(lambda_idempotency, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lambda_idempotency.nothing  # noqa: B018
