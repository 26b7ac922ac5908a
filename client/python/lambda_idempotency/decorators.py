"""The decorators for a handler and for any other function."""

from __future__ import annotations

from functools import partial, wraps

from . import wrap
from .client import Client, default_client, setting
from .invocation import current, invocation

TYPE_CHECKING = False  # see annotations.py
if not TYPE_CHECKING:

    def overload(signature):
        return signature  # Another definition of the same name follows.

else:
    from typing import Any, Callable, overload

    from typing_extensions import ParamSpec  # A type checker has it; nothing is imported.

    from .annotations import FinalErrors, KeyOption, R, Request, Seconds

    P = ParamSpec("P")

# The first parameter of a method, by convention. An object has no JSON, so it is no part of a key.
_OBJECT = (("self",), ("cls",))
# What kind of function a code object is of; inspect has these, and takes longer to import than all of this package.
_COROUTINE, _GENERATORS = 0x80, 0x20 | 0x200


@overload
def idempotent(handler: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def idempotent(
    *,
    key: KeyOption = None,
    payload: Callable[..., Any] | None = None,
    scope: str | None = None,
    ttl: Seconds | None = None,
    wait: Seconds | None = None,
    lease: Seconds | None = None,
    final_errors: FinalErrors = (),
    client: Client | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def idempotent(handler: Callable[..., Any] | None = None, /, *, key: KeyOption = None, **options: Any) -> Any:
    """Runs a Lambda handler once per key.

    ``key`` is the JMESPath expression that selects the key from the event, or a function of the handler's arguments that
    returns a string or a pair of strings. Without it, IDEMPOTENCY_KEY_JMESPATH of the sidecar counts, else the whole event.
    """
    if handler is not None and not callable(handler):
        raise TypeError(f"@idempotent takes its options by name: key={handler!r}")
    made_by = request_maker(key, options)

    def decorate(fn: Callable[..., Any]) -> Callable[..., Any]:
        check(fn, "idempotent")
        names = _parameters(fn)
        first = 1 if names[:1] in _OBJECT else 0
        selects = not callable(key)

        def request(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
            made = made_by(args, kwargs)
            if selects:
                made["event"] = args[first] if len(args) > first else _by_name(first, "event", names, kwargs)
                made["key_jmespath"] = key
            return made

        def context(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return args[first + 1] if len(args) > first + 1 else _by_name(first + 1, "context", names, kwargs, None)

        return _wrapper(fn, request, options, context)

    return decorate if handler is None else decorate(handler)


@overload
def idempotent_function(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def idempotent_function(
    *,
    key: KeyOption = None,
    payload: Callable[..., Any] | None = None,
    scope: str | None = None,
    ttl: Seconds | None = None,
    wait: Seconds | None = None,
    lease: Seconds | None = None,
    final_errors: FinalErrors = (),
    client: Client | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def idempotent_function(function: Callable[..., Any] | None = None, /, *, key: KeyOption = None, **options: Any) -> Any:
    """Runs a function once per key.

    ``key`` is a JMESPath expression over the arguments as an object, by name, defaults included, or a function of the
    same arguments that returns a string or a pair of strings. Without it, all arguments together are the key.
    """
    if function is not None and not callable(function):
        raise TypeError(f"@idempotent_function takes its options by name: key={function!r}")
    made_by = request_maker(key, options)

    def decorate(fn: Callable[..., Any]) -> Callable[..., Any]:
        check(fn, "idempotent_function")
        bind = None if callable(key) else _binder(fn, key)

        def request(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
            # "@" is all of it, also where IDEMPOTENCY_KEY_JMESPATH is set for the handler's events.
            selected = {"event": bind(args, kwargs), "key_jmespath": key or "@"} if bind else {}
            made = made_by(args, kwargs)
            if "scope" not in made:
                made["scope"] = _scope(fn)
            return {**selected, **made}

        return _wrapper(fn, request, options, None)

    return decorate if function is None else decorate(function)


_OPTIONS = ("payload", "scope", "ttl", "wait", "lease", "final_errors", "client")


def request_maker(key: KeyOption, options: dict[str, Any], known: tuple[str, ...] = _OPTIONS) -> Request:
    """Checks options, and returns what makes of a call's arguments the part of an acquire that they are for."""
    if key is not None and not isinstance(key, str) and not callable(key):
        raise TypeError(f"key is {key!r}; it takes a JMESPath expression or a function")
    if key == "":
        raise ValueError("key is empty; it takes a JMESPath expression or a function")
    for name in options:
        if name not in known:
            raise TypeError(f"there is no option {name!r}; there are key, {', '.join(known)}")
    payload = options.get("payload")
    if payload is not None and not callable(payload):
        raise TypeError(f"payload is {payload!r}; it takes a function of the same arguments")
    wrap.check_final(options.get("final_errors", ()))

    fixed = {name: options[name] for name in ("scope", "ttl", "wait", "lease") if options.get(name) is not None}
    make_key = key if callable(key) else None

    def make(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        made = fixed.copy()
        if payload:
            made["payload"] = payload(*args, **kwargs)
        if make_key:
            made["key"] = make_key(*args, **kwargs)
            if made["key"] is None:
                raise TypeError("the function for the key returned None; it takes a string or a pair of strings")
        return made

    return make


def _wrapper(fn: Callable[..., Any], request: Request, options: dict[str, Any], context: Callable[..., Any] | None) -> Callable[..., Any]:
    client: Client = options.get("client") or default_client()
    final_errors: FinalErrors = options.get("final_errors", ())

    if is_coroutine(fn):
        from . import aio

        async def run_async(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return await aio.run(client, request(args, kwargs), lambda: fn(*args, **kwargs), final_errors)

        @wraps(fn)
        async def async_wrapper(*args: Any, **kwargs: Any) -> Any:
            if context is None:
                return await run_async(args, kwargs)
            with invocation(context(args, kwargs)):
                return await run_async(args, kwargs)

        return async_wrapper

    @wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        # As with invocation(...), which would take longer.
        before = None if context is None else current.set(context(args, kwargs))
        try:
            return wrap.run(client, request(args, kwargs), lambda: fn(*args, **kwargs), final_errors)
        finally:
            if before is not None:
                current.reset(before)

    return wrapper


def _innermost(fn: Any) -> Any:
    while hasattr(fn, "func"):  # functools.partial
        fn = fn.func
    return fn if hasattr(fn, "__code__") else type(fn).__call__


def _flags(fn: Any) -> int:
    code = getattr(_innermost(fn), "__code__", None)
    return code.co_flags if code else 0


def is_coroutine(fn: Any) -> bool:
    return bool(_flags(fn) & _COROUTINE)


def check(fn: Any, decorator: str) -> None:
    if isinstance(fn, (staticmethod, classmethod)) or not callable(fn):
        raise TypeError(f"@{decorator} takes a function, not a {type(fn).__name__}; it goes below @staticmethod and @classmethod")
    if _flags(fn) & _GENERATORS:
        raise TypeError(f"@{decorator} cannot store what a generator yields: decorate a function that returns")


def _parameters(fn: Any) -> tuple[str, ...]:
    """The names of the arguments that a caller hands over by place. An object whose method it is, is not one of them."""
    code = getattr(fn, "__code__", None)
    names: tuple[str, ...] = code.co_varnames[: code.co_argcount] if code else ()
    return names[1:] if hasattr(fn, "__self__") else names


def _by_name(i: int, usual: str, names: tuple[str, ...], kwargs: dict[str, Any], *default: Any) -> Any:
    """The handler's first or second argument, where it was not handed over by place."""
    name = names[i] if i < len(names) else usual
    if name in kwargs or not default:
        return kwargs[name] if name in kwargs else _missing(name)
    return default[0]


def _missing(name: str) -> Any:
    raise TypeError(f"the handler was called without its argument {name!r}")


def _binder(fn: Callable[..., Any], key: KeyOption) -> Callable[[tuple[Any, ...], dict[str, Any]], dict[str, Any]]:
    if isinstance(fn, partial):
        # What it holds already is no parameter of it anymore, but tells one of its calls from another's.
        held, bind_all = fn, _binder(fn.func, key)
        return lambda args, kwargs: bind_all((*held.args, *args), {**held.keywords, **kwargs})

    import inspect  # It is slow to import, and not needed where the key is made by a function.

    signature = inspect.signature(fn)
    method = tuple(signature.parameters)[:1] in _OBJECT
    if method and key is None:
        raise TypeError(f"{fn.__qualname__} is a method: what its object contributes to the key is not known; give key=")

    def bind(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(list(bound.arguments.items())[1 if method else 0 :])

    return bind


def _scope(fn: Any) -> str:
    within = setting(b"IDEMPOTENCY_SCOPE") or setting(b"AWS_LAMBDA_FUNCTION_NAME") or "local"
    fn = _innermost(fn)
    scope = f"{within}.{fn.__module__}.{fn.__qualname__}"
    if len(scope.encode()) > 255:
        raise ValueError(f"the function's name is too long for a scope ({scope}): give scope=, of at most 255 bytes")
    return scope
