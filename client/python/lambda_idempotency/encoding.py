"""JSON text of what is sent, and errors that say which part of it is no JSON."""

from __future__ import annotations

import json

TYPE_CHECKING = False  # see annotations.py
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Callable


def encode(what: str, value: Any) -> str:
    """The JSON text of a value. ``what`` names it in the TypeError or ValueError that is raised if there is none."""
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError):
        return _encode_or_explain(what, value)


def encode_object(members: dict[str, Any]) -> str:
    """The JSON text of an object. An error names the member that it is in."""
    try:
        return _encode(members)
    except (TypeError, ValueError, RecursionError):
        for name, value in members.items():
            _encode_or_explain(name, value)
        raise


def _encode_or_explain(what: str, value: Any) -> str:
    try:
        text = _standard.encode(value)
        text.encode()
        return text
    except (TypeError, ValueError, RecursionError) as error:
        path, reason, kind = _explain(what, value, error)
        raise kind(f"{path} {reason}") from error


# Characters go as they are: escaped, a text that is not ASCII would take up to three times the room.
_standard = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _parts_maker() -> Callable[[Any, int], Iterable[str]]:
    """What makes the parts of a JSON text.

    The standard encoder makes more than this for each text, which takes as long as the encoding does. What it has seen on
    the way to a part is each text's own: a circle is found when it closes, not when it has filled the stack, and the
    memory with all that is in it.
    """
    try:
        from json.encoder import c_make_encoder, encode_basestring  # type: ignore[attr-defined]

        default = _standard.default

        def make(value: Any, level: int) -> Iterable[str]:
            parts: Iterable[str] = c_make_encoder({}, default, encode_basestring, None, ":", ",", False, False, False)(value, level)
            return parts

        if "".join(make({"a": [1, "é"]}, 0)) == '{"a":[1,"é"]}':
            return make
    except (ImportError, TypeError):
        pass  # It is no public part of the library: another Python may not have it.
    return lambda value, _: (_standard.encode(value),)


_parts = _parts_maker()


def _encode(value: Any) -> str:
    text = "".join(_parts(value, 0))
    if not text.isascii():
        text.encode()  # A lone surrogate is no character.
    return text


def _explain(what: str, value: Any, error: Exception) -> tuple[str, str, type[Exception]]:
    """Where the first part that is no JSON is, and what is wrong with it."""
    if isinstance(error, RecursionError):
        return what, "is nested too deeply for JSON", ValueError
    # The walk ends: the parts on the way to the present one are known, so that a circle is seen.
    stack: list[tuple[str, Any, tuple[int, ...]]] = [(what, value, ())]
    while stack:
        path, part, above = stack.pop()
        if id(part) in above:
            return path, "contains itself", ValueError
        if isinstance(part, dict):
            inside = (*above, id(part))
            for key in part:
                if not isinstance(key, (str, int, float, bool, type(None))):
                    return path, f"has a key of type {_name(key)}; keys are strings in JSON", TypeError
                wrong = _wrong(key)
                if wrong:
                    return f"a key of {path}", wrong[0], wrong[1]
            stack.extend((f"{path}[{key!r}]", member, inside) for key, member in reversed(list(part.items())))
        elif isinstance(part, (list, tuple)):
            inside = (*above, id(part))
            stack.extend((f"{path}[{i}]", part[i], inside) for i in reversed(range(len(part))))
        else:
            wrong = _wrong(part)
            if wrong:
                return path, wrong[0], wrong[1]
    return what, f"is no JSON: {error}", type(error) if type(error) in (TypeError, ValueError) else ValueError


def _wrong(part: Any) -> tuple[str, type[Exception]] | None:
    try:
        _standard.encode(part).encode()
    except UnicodeEncodeError:
        return "holds half of a surrogate pair, which is no character", ValueError
    except ValueError as error:
        if isinstance(part, float):
            return f"is {part!r}, which JSON cannot express", ValueError
        return f"is no JSON: {error}", ValueError
    except TypeError:
        return f"is of type {_name(part)}, which is no JSON; convert it first", TypeError
    return None


def _name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
