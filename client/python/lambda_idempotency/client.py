"""The verbs of the API."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from functools import lru_cache

from . import invocation
from .claim import Failure, Outcome
from .connection import Connection, NotHTTP, Pool, header
from .encoding import encode, encode_object
from .errors import ClaimLostError, PayloadMismatchError, ProblemError, UnavailableError
from .wrap import check_final, run

TYPE_CHECKING = False  # see annotations.py
if TYPE_CHECKING:
    from typing import Any, Callable

    from .annotations import FinalErrors, Key, R, Seconds


def _variables() -> dict[bytes, bytes] | None:
    """Where ``os.environ`` keeps what it shows, if that is where Python has kept it so far."""
    kept = getattr(os.environ, "_data", None)
    return kept if os.supports_bytes_environ and kept == dict(os.environb) else None


_environ = os.environ
_kept = _variables()
_encoding = sys.getfilesystemencoding()


def setting(name: bytes) -> str:
    """A variable of the environment, as it is now; empty if there is none.

    ``os.environ.get`` encodes the name each time, and raises and catches an error if there is none. A call reads up to
    five variables, and would take a tenth longer with it.
    """
    if _kept is None or os.environ is not _environ:
        return os.environ.get(os.fsdecode(name), "")
    return _kept.get(name, b"").decode(_encoding, "surrogateescape")


class Absent:
    """The type of ``ABSENT``, which says that an argument was not given, where ``None`` is a value."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent()

# The sidecar gives up on the store after ten seconds at most, so an answer that takes longer does not come.
_TIMEOUT_S = 15.0

_decode = json.JSONDecoder().raw_decode


class Client:
    """Calls the sidecar of this environment. It may be used by many threads at the same time, and after a fork.

    ``port`` and ``auth_token`` are for a sidecar elsewhere than where the environment says.
    """

    def __init__(self, *, port: int | None = None, auth_token: str | None = None) -> None:
        self._port = port
        self._auth_token = auth_token
        self._pool = Pool()

    def __repr__(self) -> str:
        return f"<Client of 127.0.0.1:{self._port or setting(b'IDEMPOTENCY_PORT') or 2774}>"

    def close(self) -> None:
        """Closes the connections that no call uses. The client can still be used."""
        self._pool.clear()

    def acquire(
        self,
        key: Key | None = None,
        *,
        event: Any = ABSENT,
        key_jmespath: str | None = None,
        payload: Any = ABSENT,
        scope: str | None = None,
        ttl: Seconds | None = None,
        wait: Seconds | None = None,
        lease: Seconds | None = None,
        detached: bool = False,
        request_id: str | None = None,
        deadline_ms: int | None = None,
        client_token: str | None = None,
    ) -> Outcome:
        """Asks for the claim on a key, or on what ``key_jmespath`` selects from ``event`` (without it, all of it).

        ``request_id`` and ``deadline_ms`` are taken from the invocation, if they are not given: within a handler that is
        decorated with ``@idempotent``, or within ``with invocation(context)``.
        """
        request = acquire_request(key, event, key_jmespath, payload, scope, ttl, wait, lease, detached, request_id, deadline_ms, client_token)
        text = encode_object(request)
        return outcome_of("/acquire", granted() if disabled() else self.send("/acquire", text, request.get("wait_ms", 0)))

    def complete(self, token: str, result: Any = None, *, ttl: Seconds | None = None) -> None:
        """Ends a claim with a result, which duplicates get. Can be repeated."""
        self.complete_encoded(token, encode("result", result), ttl=ttl)

    def complete_encoded(self, token: str, result: str | None, *, ttl: Seconds | None = None) -> None:
        """Is ``complete`` with the JSON text of a result; None: without a result."""
        text = f'{{"token":{encode("token", token)}'
        if result is not None:
            text += f',"result":{result}'
        if ttl is not None:
            text += f',"ttl_seconds":{_ttl_seconds(ttl)}'
        if not disabled():
            self.send("/complete", text + "}")

    def fail(self, token: str, error: BaseException | Failure | None = None, *, retry: bool = True) -> None:
        """Ends the claim of work that failed. With ``retry`` the key is free again, else the failure is final."""
        text = encode_object(fail_request(token, error, retry))
        if not disabled():
            self.send("/fail", text)

    def renew(self, token: str, *, lease: Seconds | None = None) -> int:
        """Gives a claim a new lease. Returns the epoch milliseconds until which it holds."""
        request: dict[str, Any] = {"token": token}
        if lease is not None:
            request["lease_ms"] = _millis("lease", lease)
        text = encode_object(request)
        until = (granted() if disabled() else self.send("/renew", text)).get("lease_expires_at")
        if not isinstance(until, int):
            raise ProblemError(200, "", "the answer to /renew is not the sidecar's")
        return until

    def run(
        self,
        key: Key,
        fn: Callable[[], R],
        *,
        payload: Any = ABSENT,
        scope: str | None = None,
        ttl: Seconds | None = None,
        wait: Seconds | None = None,
        lease: Seconds | None = None,
        final_errors: FinalErrors = (),
    ) -> R:
        """Runs ``fn`` once per key and returns its result; a duplicate gets the result of the run that was."""
        check_final(final_errors)
        request = {"key": key, "payload": payload, "scope": scope, "ttl": ttl, "wait": wait, "lease": lease}
        return run(self, request, fn, final_errors)

    def send(self, path: str, body: str, wait_ms: int = 0) -> dict[str, Any]:
        """Posts a JSON text, for the wrappers."""
        # A longer wait than a day is refused by the sidecar, and may be more than a socket's timeout can be.
        timeout = _TIMEOUT_S + min(wait_ms / 1000, 86_400)
        until = time.monotonic() + timeout
        port = self._port or _port(setting(b"IDEMPOTENCY_PORT") or "2774")
        try:
            status, head, answer = self._exchange(port, path, self._secret(), body.encode(), until)
        except socket.timeout as error:
            raise UnavailableError(detail=f"the sidecar on port {port} did not answer {path} within {timeout:g} s") from error
        except ConnectionRefusedError as error:
            raise UnavailableError(detail=f"nothing listens on 127.0.0.1:{port}; is the layer attached, or the local server started?") from error
        except OSError as error:
            raise UnavailableError(detail=f"the connection to the sidecar on port {port} broke: {error}") from error
        except NotHTTP as error:
            raise ProblemError(detail=f"is something else on port {port}? {error}") from error
        try:
            text = answer.decode("utf-8", "surrogatepass").strip()
            told, end = _decode(text)
            if end != len(text):
                told = None
        except (ValueError, RecursionError):
            told = None
        if status == 200 and isinstance(told, dict):
            return told
        raise _problem(port, path, status, head, told if isinstance(told, dict) else {})

    def _exchange(self, port: int, path: str, secret: str, body: bytes, until: float) -> tuple[int, bytes, bytes]:
        try:
            return self._once(self._pool.take(port), port, path, secret, body, until)
        except (socket.timeout, ConnectionRefusedError):
            raise
        except OSError:
            # The connection broke, and the others may have with it: a sidecar that was started anew knows none of them.
            # Each call can be repeated.
            self._pool.clear()
            return self._once(None, port, path, secret, body, until)

    def _once(self, connection: Connection | None, port: int, path: str, secret: str, body: bytes, until: float) -> tuple[int, bytes, bytes]:
        connection = connection or Connection(port, until)
        try:
            answer = connection.post(path, secret, body, until)
        except BaseException:  # A KeyboardInterrupt leaves half an answer behind, too.
            connection.close()
            raise
        self._pool.put(connection)
        return answer

    def _secret(self) -> str:
        secret = (
            self._auth_token or setting(b"IDEMPOTENCY_AUTH_TOKEN") or setting(b"AWS_SESSION_TOKEN") or setting(b"AWS_CONTAINER_AUTHORIZATION_TOKEN")
        )
        if "\r" in secret or "\n" in secret:
            raise ValueError("the secret for the sidecar has a line break in it")
        return secret


def acquire_request(
    key: Key | None = None,
    event: Any = ABSENT,
    key_jmespath: str | None = None,
    payload: Any = ABSENT,
    scope: str | None = None,
    ttl: Seconds | None = None,
    wait: Seconds | None = None,
    lease: Seconds | None = None,
    detached: bool = False,
    request_id: str | None = None,
    deadline_ms: int | None = None,
    client_token: str | None = None,
) -> dict[str, Any]:
    """What an acquire sends."""
    request: dict[str, Any] = {}
    if key is not None:
        request["key"] = _key(key)
    elif event is ABSENT:
        raise TypeError("acquire needs a key, or an event to select it from")
    if event is not ABSENT:
        request["event"] = event
    if key_jmespath is not None:
        request["key_jmespath"] = key_jmespath
    if payload is not ABSENT:
        request["payload"] = payload
    if scope is not None:
        request["scope"] = scope
    if ttl is not None:
        request["ttl_seconds"] = _ttl_seconds(ttl)
    if lease is not None:
        request["lease_ms"] = _millis("lease", lease)
    elif deadline_ms is None:
        left = invocation.remaining_ms()
        if left is not None:
            deadline_ms = int(time.time() * 1000 + left)
    if deadline_ms is not None:
        request["deadline_ms"] = deadline_ms
    if wait is not None:
        request["wait_ms"] = _millis("wait", wait)
    if detached:
        request["detached"] = True
    request_id = request_id or invocation.request_id()
    if request_id:
        request["request_id"] = request_id
    request["client_token"] = client_token or os.urandom(16).hex()
    return request


def outcome_of(path: str, answer: dict[str, Any]) -> Outcome:
    try:
        outcome = Outcome(answer)
    except (KeyError, AttributeError, TypeError) as error:
        raise ProblemError(200, "", f"the answer to {path} is not the sidecar's: {error!r}") from error
    if outcome.status not in ("acquired", "completed", "failed", "in_progress"):
        detail = f"the sidecar answered {path} with the status {outcome.status!r}, which this version does not know"
        raise ProblemError(200, "", detail)
    return outcome


def fail_request(token: str, error: BaseException | Failure | None, retry: bool) -> dict[str, Any]:
    """What a fail sends."""
    request: dict[str, Any] = {"token": token}
    if error is not None:
        failure = error if isinstance(error, Failure) else Failure(type(error).__name__, _message(error))
        request["error"] = {"type": _clean(failure.type, 256), "message": _clean(failure.message, 2048)}
    request["retry"] = bool(retry)
    return request


_default = Client()


def default_client() -> Client:
    """The client that the wrappers use, so that they share connections."""
    return _default


def disabled() -> bool:
    """Whether no sidecar is to be called, so that functions can be tested without one."""
    return setting(b"IDEMPOTENCY_DISABLED").lower() == "true"


def granted() -> dict[str, Any]:
    """Takes the place of an answer when no sidecar is called."""
    now = int(time.time() * 1000)
    return {"status": "acquired", "token": "disabled", "fence": now, "attempt": 1, "lease_expires_at": now + 15 * 60_000}


@lru_cache(maxsize=8)
def _port(port: str) -> int:
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"IDEMPOTENCY_PORT is {port!r}, which is no port")
    return int(port)


def _key(key: Key) -> Key:
    if isinstance(key, str):
        return key
    if isinstance(key, (list, tuple)) and len(key) == 2 and all(isinstance(part, str) for part in key):
        return key
    raise TypeError(f"the key is {key!r}; it takes a string or a pair of strings")


def _millis(what: str, value: Seconds) -> int:
    seconds = value if isinstance(value, (int, float)) or not hasattr(value, "total_seconds") else value.total_seconds()
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{what} is {value!r}; it takes seconds, as a number or a timedelta")
    if not 0 <= seconds <= 1e12:
        raise ValueError(f"{what} is {value!r}; it takes seconds from now on")
    return round(seconds * 1000)


def _ttl_seconds(ttl: Seconds) -> int:
    # Rather remembered too long than too short.
    return -(-_millis("ttl", ttl) // 1000)


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # An error that cannot say what it is must not hide that it is.
        return ""


def _clean(text: str, most: int) -> str:
    """A text cut to what the sidecar keeps of it at most, without what is no character."""
    return text[:most].encode("utf-8", "replace").decode()


def _problem(port: int, path: str, status: int, head: bytes, told: dict[str, Any]) -> ProblemError:
    code, detail = told.get("code"), told.get("detail")
    if not isinstance(code, str) or not code:
        return ProblemError(status, "", f"{path} on port {port} was answered with {status}; is something else on that port?")
    after = header(head, b"retry-after") or b""
    return named(status, code, detail if isinstance(detail, str) else "", float(after) if after.isdigit() else None)


def named(status: int, code: str, detail: str, retry_after: float | None) -> ProblemError:
    """A problem as the error that it is known by."""
    if code == "payload_mismatch":
        return PayloadMismatchError(status, code, detail)
    if code == "claim_lost":
        return ClaimLostError(status, code, detail)
    if status == 503:
        return UnavailableError(status, code, detail, retry_after)
    return ProblemError(status, code, detail)
