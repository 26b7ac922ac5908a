"""The types that only annotations name.

No module imports this or ``typing`` when it runs: typing, and what is made with it, take as long to import
as all the rest. Type checkers take a name TYPE_CHECKING for true, whoever defines it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Callable, Protocol, TypeVar, Union

R = TypeVar("R")
Key = Union[str, Sequence[str]]
"""A string, or a pair of strings."""
Seconds = Union[int, float, timedelta]
FinalErrors = Union[type[BaseException], tuple[type[BaseException], ...]]
"""Errors after which the work is not to be repeated, as ``except`` takes them."""
KeyOption = Union[str, Callable[..., Key], None]
"""How a decorator is told the key: with JMESPath, or with a function."""
Request = Callable[[tuple[Any, ...], dict[str, Any]], dict[str, Any]]
"""Makes of a call's arguments those of an acquire."""


class Verbs(Protocol):
    """What claims are made and ended with: the client, without its name, so that what it imports need not import it."""

    def acquire(self, *args: Any, **request: Any) -> Any: ...
    def complete_encoded(self, token: str, result: str | None) -> None: ...
    def fail(self, token: str, error: Any = ..., *, retry: bool = ...) -> None: ...
    def renew(self, token: str, *, lease: Seconds | None = ...) -> int: ...
