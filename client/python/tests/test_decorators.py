from __future__ import annotations

import asyncio
import functools
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from lambda_idempotency import Client, idempotent, idempotent_function, invocation

from .invocations import Context
from .scripted import ACQUIRED, COMPLETED, Server, answer, serve


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(*[answer(ACQUIRED), answer(COMPLETED)] * 4) as made:
        yield made


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    made = Client(port=server.port)
    yield made
    made.close()


def acquires(server: Server) -> list[dict[str, Any]]:
    """What the acquires had, but for their tokens."""
    asked = [request.body for request in server.requests if request.path == "/acquire"]
    return [{name: value for name, value in body.items() if name != "client_token"} for body in asked]


# --- @idempotent ------------------------------------------------------------------------------------------------------


def test_bare(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDEMPOTENCY_PORT", str(server.port))

    @idempotent
    def handler(event: dict[str, int], context: object) -> int:
        """What it does."""
        return event["a"]

    assert handler({"a": 1}, None) == 1
    assert (handler.__name__, handler.__doc__) == ("handler", "What it does.")
    assert acquires(server) == [{"event": {"a": 1}}]


def test_a_handler_called_in_any_way(server: Server, client: Client) -> None:
    @idempotent(key="a", client=client)
    def handler(message: Any, ctx: Any = None) -> int:
        return 1

    class Service:
        @idempotent(key="a", client=client)
        def handle(self, event: Any, context: Any) -> int:
            return 1

    handler({"a": 1})
    handler(message={"a": 1}, ctx=Context("r1"))
    Service().handle({"a": 1}, Context("r2"))
    idempotent(key="a", client=client)(functools.partial(lambda prefix, event, context: 1, 0))({"a": 1}, Context("r3"))
    got = acquires(server)
    assert [body["event"] for body in got] == [{"a": 1}] * 4
    assert [body.get("request_id") for body in got] == [None, "r1", "r2", "r3"]
    assert [body.get("deadline_ms", 0) > 0 for body in got] == [False, True, True, True]


def test_a_key_made_by_a_function(server: Server, client: Client) -> None:
    @idempotent(key=lambda event, context: ("job", event["id"]), payload=lambda event, context: event["amount"], client=client)
    def handler(event: Any, context: Any) -> int:
        return 1

    handler({"id": "7", "amount": 1.5, "when": object()}, Context("r1", 0))
    assert acquires(server) == [{"key": ["job", "7"], "payload": 1.5, "request_id": "r1"}]


@pytest.mark.parametrize("made", [None, 7, b"x", ["a"], ["a", "b", "c"], ["a", 1], {"a": "b"}], ids=repr)
def test_a_key_that_is_none(server: Server, client: Client, made: Any) -> None:
    @idempotent(key=lambda event, context: made, client=client)
    def handler(event: Any, context: Any) -> None:
        pytest.fail("it ran without a key")

    with pytest.raises(TypeError, match="it takes a string or a pair of strings"):
        handler({}, None)
    assert server.requests == []


def test_a_context_made_for_a_test(server: Server, client: Client) -> None:
    class Endless(Context):
        def get_remaining_time_in_millis(self) -> Any:
            return float("inf")

    class Odd:
        aws_request_id = object()

        def get_remaining_time_in_millis(self) -> object:
            return object()

    @idempotent(client=client)
    def handler(event: Any, context: Any) -> int:
        return 1

    for context in (Odd(), object(), {}, Endless("")):
        handler({"a": 1}, context)
    assert acquires(server) == [{"event": {"a": 1}}] * 4


def test_a_lease_takes_the_place_of_the_deadline(server: Server, client: Client) -> None:
    @idempotent(key="a", client=client, lease=1.5)
    def handler(event: Any, context: Any) -> int:
        return 1

    handler({"a": 1}, Context("r1"))
    assert acquires(server) == [{"event": {"a": 1}, "key_jmespath": "a", "lease_ms": 1500, "request_id": "r1"}]


# --- @idempotent_function ---------------------------------------------------------------------------------------------


def test_arguments_are_one_key_however_they_are_given(server: Server, client: Client) -> None:
    @idempotent_function(client=client, scope="s")
    def pay(order: str, amount: int = 10, *more: int, note: str = "n", **others: int) -> int:
        return 1

    pay("a")
    pay(amount=10, order="a", note="n")
    pay("a", 10, 1, 2, x=3)
    whole = {"order": "a", "amount": 10, "more": [], "note": "n", "others": {}}
    assert acquires(server) == [
        {"event": event, "key_jmespath": "@", "scope": "s"} for event in (whole, whole, {**whole, "more": [1, 2], "others": {"x": 3}})
    ]
    with pytest.raises(TypeError, match="missing a required argument"):
        pay()  # type: ignore[call-arg]
    assert len(acquires(server)) == 3


def test_a_key_selected_from_the_arguments(server: Server, client: Client) -> None:
    @idempotent_function(key="order.id", client=client, payload=lambda order: order["amount"])
    def pay(order: dict[str, int]) -> int:
        return 1

    pay({"id": 1, "amount": 5})
    (body,) = acquires(server)
    assert (body["event"], body["key_jmespath"], body["payload"]) == ({"order": {"id": 1, "amount": 5}}, "order.id", 5)


@pytest.mark.parametrize(
    ("settings", "within"),
    [
        ({}, "local"),
        ({"AWS_LAMBDA_FUNCTION_NAME": "shop"}, "shop"),
        ({"AWS_LAMBDA_FUNCTION_NAME": "shop", "IDEMPOTENCY_SCOPE": "team"}, "team"),
        ({"AWS_LAMBDA_FUNCTION_NAME": "shop", "IDEMPOTENCY_SCOPE": ""}, "shop"),
    ],
    ids=range(4),
)
def test_the_scope_of_a_function(server: Server, client: Client, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], within: str) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    idempotent_function(key=lambda: "a", client=client)(_module_function)()
    assert acquires(server) == [{"key": "a", "scope": f"{within}.tests.test_decorators._module_function"}]


def _module_function() -> int:
    return 1


def test_a_name_too_long_for_a_scope(server: Server, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDEMPOTENCY_SCOPE", "é" * 120)
    with pytest.raises(ValueError, match="give scope="):
        idempotent_function(key=lambda: "a", client=client)(_module_function)()
    assert server.requests == []


def test_a_method(server: Server, client: Client) -> None:
    class Account:
        def __init__(self, number: str) -> None:
            self.number = number

        @idempotent_function(key="order", client=client, scope="s")
        def pay(self, order: str) -> int:
            return 1

        @idempotent_function(key=lambda self, order: (self.number, order), client=client, scope="s")
        def refund(self, order: str) -> int:
            return 1

        def plain(self, order: str) -> int:
            return 1

    account = Account("7")
    account.pay("a")
    account.refund("a")
    # The object of a bound method is no argument of it, so that all arguments are the key.
    idempotent_function(account.plain)
    idempotent_function(client=client, scope="s")(account.plain)("a")
    assert acquires(server) == [
        {"event": {"order": "a"}, "key_jmespath": "order", "scope": "s"},
        {"key": ["7", "a"], "scope": "s"},
        {"event": {"order": "a"}, "key_jmespath": "@", "scope": "s"},
    ]
    with pytest.raises(TypeError, match="is a method"):
        idempotent_function(Account.plain)


def test_what_a_partial_holds_is_part_of_the_key(server: Server, client: Client) -> None:
    def charge(customer: str, amount: int, note: str = "n") -> int:
        return 1

    for customer in ("ada", "bob"):
        idempotent_function(functools.partial(charge, customer))
        idempotent_function(client=client, scope="s")(functools.partial(charge, customer, note="x"))(10)
    assert [body["event"] for body in acquires(server)] == [{"customer": customer, "amount": 10, "note": "x"} for customer in ("ada", "bob")]


def test_an_argument_that_is_no_json(server: Server, client: Client) -> None:
    @idempotent_function(client=client)
    def pay(order: object) -> None:
        pytest.fail("it ran without a claim")

    with pytest.raises(TypeError, match=r"event\['order'\]\['id'\] is of type uuid.UUID"):
        pay({"id": uuid.uuid4()})
    assert server.requests == []


def test_the_invocation_is_known_within_the_handler(server: Server, client: Client) -> None:
    @idempotent_function(key=lambda: "b", client=client, scope="s")
    def inner() -> int:
        return 1

    @idempotent(key=lambda event, context: "a", client=client)
    def handler(event: Any, context: Any) -> int:
        return inner()

    handler({}, Context("r1"))
    inner()
    with invocation(Context("r2", -5)):
        inner()
    assert [body.get("request_id") for body in acquires(server)] == ["r1", "r1", None, "r2"]
    assert ["deadline_ms" in body for body in acquires(server)] == [True, True, False, False]


# --- Misuse -----------------------------------------------------------------------------------------------------------


def _generator() -> Iterator[int]:
    yield 1


async def _async_generator() -> Any:
    yield 1


@pytest.mark.parametrize("decorator", [idempotent, idempotent_function])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": 7}, "it takes a JMESPath expression or a function"),
        ({"payload": {"a": 1}}, "payload is .* it takes a function"),
        ({"final_errors": "ValueError"}, "isinstance"),
        ({"final_errors": [ValueError]}, "isinstance"),
        ({"tll": 5}, "there is no option 'tll'"),
    ],
    ids=range(5),
)
def test_options_that_are_wrong(decorator: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        decorator(**options)


@pytest.mark.parametrize("decorator", [idempotent, idempotent_function])
def test_what_cannot_be_decorated(decorator: Any) -> None:
    for function in (_generator, _async_generator):
        with pytest.raises(TypeError, match="cannot store what a generator yields"):
            decorator(function)
    with pytest.raises(TypeError, match="takes its options by name"):
        decorator("[JobId, ObjKey]")
    kinds: Any = (staticmethod, classmethod)
    for bound in kinds:
        with pytest.raises(TypeError, match="below @staticmethod"):
            decorator(key="a")(bound(_module_function))
    with pytest.raises(ValueError, match="key is empty"):
        decorator(key="")


@pytest.mark.parametrize("name", ["ttl", "wait", "lease"])
@pytest.mark.parametrize(("value", "kind"), [("5", TypeError), (True, TypeError), (-1, ValueError), (float("nan"), ValueError)], ids=range(4))
def test_times_that_are_none(server: Server, client: Client, name: str, value: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=f"{name} is .*it takes seconds"):
        client.run("a", lambda: pytest.fail("it ran without a claim"), **{name: value})
    assert server.requests == []


def test_times(server: Server, client: Client) -> None:
    import datetime

    client.run("a", lambda: 1, ttl=0.4, wait=datetime.timedelta(minutes=1), lease=0.25)
    client.run("a", lambda: 1, ttl=datetime.timedelta(days=1), wait=0)
    assert acquires(server) == [
        {"key": "a", "ttl_seconds": 1, "wait_ms": 60_000, "lease_ms": 250},
        {"key": "a", "ttl_seconds": 86_400, "wait_ms": 0},
    ]


def test_a_function_that_hides_that_it_is_async(server: Server, client: Client) -> None:
    async def work() -> int:
        return 1

    @idempotent_function(key=lambda: "a", client=client)
    def hidden() -> Any:
        return work()

    with pytest.raises(TypeError, match="decorate the async def itself"):
        hidden()
    assert server.requests[1].path == "/fail"

    class Callable:
        async def __call__(self) -> int:
            return 1

    assert asyncio.run(idempotent_function(key=lambda: "a", client=client)(Callable())()) == 1
    assert asyncio.run(idempotent_function(key=lambda: "a", client=client)(functools.partial(work))()) == 1
