from __future__ import annotations

import datetime
import decimal
import json
import math
from typing import Any

import pytest

from lambda_idempotency import encoding
from lambda_idempotency.encoding import encode, encode_object

CIRCLE: list[Any] = [1]
CIRCLE.append({"in": CIRCLE})
DEEP: list[Any] = []
for _ in range(200_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (math.nan, ValueError, "event is nan, which JSON cannot express"),
        ({"a": [0, {"b": -math.inf}]}, ValueError, "event['a'][1]['b'] is -inf, which JSON cannot express"),
        ({"when": datetime.date(2026, 1, 1)}, TypeError, "event['when'] is of type datetime.date, which is no JSON; convert it first"),
        ([decimal.Decimal("1.10")], TypeError, "event[0] is of type decimal.Decimal, which is no JSON; convert it first"),
        (b"bytes", TypeError, "event is of type bytes, which is no JSON; convert it first"),
        ({"s": {1, 2}}, TypeError, "event['s'] is of type set, which is no JSON; convert it first"),
        ({(1, 2): 3}, TypeError, "event has a key of type tuple; keys are strings in JSON"),
        (["ok", "\ud83d"], ValueError, "event[1] holds half of a surrogate pair, which is no character"),
        ({"\udc00": 1}, ValueError, "a key of event holds half of a surrogate pair, which is no character"),
        (CIRCLE, ValueError, "event[1]['in'] contains itself"),
        (DEEP, ValueError, "event is nested too deeply for JSON"),
    ],
    ids=range(11),
)
def test_what_is_no_json(value: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        encode("event", value)
    assert type(caught.value) is kind
    assert str(caught.value) == message


SHARED = [1]


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -0.0,
        2**53 + 1,
        10**400,
        1e-320,
        1.7976931348623157e308,
        "",
        'é\u2028☃😀\x00"\\',
        [],
        {},
        [SHARED, SHARED],
        {"a": {"b": [None]}},
    ],
    ids=repr,
)
def test_what_is_json_comes_back(value: Any) -> None:
    text = encode("event", value)
    back = json.loads(text)
    assert back == value
    assert repr(back) == repr(value)


def test_the_members_of_an_object() -> None:
    assert (
        encode_object({"key": ("a", "é"), "payload": {"n": [1.5, None]}, "detached": True})
        == '{"key":["a","é"],"payload":{"n":[1.5,null]},"detached":true}'
    )
    with pytest.raises(ValueError, match=r"^payload\[1\]\['in'\] contains itself$"):
        encode_object({"key": "a", "payload": CIRCLE})
    with pytest.raises(TypeError, match=r"^event\['a'\] is of type set"):
        encode_object({"event": {"a": {1}}, "payload": {2}})


def test_a_python_without_the_encoder_in_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json.encoder, "c_make_encoder", None)
    monkeypatch.setattr(encoding, "_parts", encoding._parts_maker())
    assert encode("event", {"a": [1.5, "é"]}) == '{"a":[1.5,"é"]}'
    with pytest.raises(ValueError, match=r"^event\[1\]\['in'\] contains itself$"):
        encode("event", CIRCLE)


def test_an_object_of_its_own_is_not_shown() -> None:
    class Secret:
        def __repr__(self) -> str:
            return "the secret"

    with pytest.raises(TypeError) as caught:
        encode("payload", [Secret()])
    assert "the secret" not in str(caught.value)


def test_a_circle_is_found_when_it_closes() -> None:
    asked = []

    class Asked(dict[str, Any]):
        def items(self) -> Any:
            asked.append(1)
            return super().items()

    circle = Asked(large="x")
    circle["self"] = circle
    with pytest.raises(ValueError, match=r"^event\['self'\] contains itself$"):
        encode("event", circle)
    # Not as many as the stack holds, each with all that is in it.
    assert len(asked) < 10
