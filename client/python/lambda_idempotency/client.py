"""The verbs of the API."""

from __future__ import annotations

import json
import os
import socket
import time

from . import invocation
from .connection import Answer, Connection, NotHTTP, Pool
from .encoding import encode
from .errors import ClaimLostError, PayloadMismatchError, ProblemError, UnavailableError

TYPE_CHECKING = False  # see annotations.py
if TYPE_CHECKING:
    from typing import Any, Callable

    from .annotations import FinalErrors, Key, R, Seconds


class Absent:
    """The type of ``ABSENT``, which says that an argument was not given, where ``None`` is a value."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent()

# The sidecar gives up on the store after ten seconds at most, so an answer that takes longer does not come.
_TIMEOUT_S = 15.0


class Failure:
    """The type and the message of an error that a run ended with."""

    __slots__ = ("message", "type")

    def __init__(self, type: str, message: str) -> None:
        self.type = type
        self.message = message

    def __repr__(self) -> str:
        return f"Failure(type={self.type!r}, message={self.message!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Failure) and (self.type, self.message) == (other.type, other.message)

    def __hash__(self) -> int:
        return hash((self.type, self.message))


class Outcome:
    """The answer to an acquire. ``status`` says which of the others have a meaning."""

    __slots__ = (
        "attempt", "completed_at", "error", "failed_at", "fence", "lease_expires_at", "previous_error",
        "request_id", "result", "result_omitted", "retry_after", "status", "token", "unprotected",
    )  # fmt: skip

    def __init__(self, answer: dict[str, Any]) -> None:
        self.status: str = answer["status"]
        """``acquired``, ``completed``, ``failed`` or ``in_progress``."""
        self.token: str = answer["token"] if self.status == "acquired" else ""
        self.fence: int = answer["fence"] if self.status == "acquired" else 0
        self.attempt: int = answer.get("attempt", 0)
        self.lease_expires_at: int = answer.get("lease_expires_at", 0)
        self.previous_error = _failure(answer.get("previous_error"))
        self.unprotected: bool = answer.get("unprotected", False)
        self.result: Any = answer.get("result")
        self.result_omitted: bool = answer.get("result_omitted", False)
        self.completed_at: int = answer.get("completed_at", 0)
        self.error = _failure(answer.get("error"))
        self.failed_at: int = answer.get("failed_at", 0)
        self.retry_after: float = answer.get("retry_after_ms", 0) / 1000
        self.request_id: str = answer.get("request_id", "")

    def __repr__(self) -> str:
        return f"<Outcome {self.status}>"  # Neither the token nor the result belongs in a log.


def _failure(told: dict[str, Any] | None) -> Failure | None:
    return Failure(told.get("type", ""), told.get("message", "")) if told else None


class Client:
    """Calls the sidecar of this environment. It may be used by many threads at the same time, and after a fork.

    ``port`` and ``auth_token`` are for a sidecar elsewhere than where the environment says.
    """

    def __init__(self, *, port: int | None = None, auth_token: str | None = None) -> None:
        self._port = port
        self._auth_token = auth_token
        self._pool = Pool()

    def __repr__(self) -> str:
        return f"<Client of 127.0.0.1:{self._port or os.environ.get('IDEMPOTENCY_PORT') or 2774}>"

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
        parts, wait_ms = acquire_parts(
            key,
            event=event,
            key_jmespath=key_jmespath,
            payload=payload,
            scope=scope,
            ttl=ttl,
            wait=wait,
            lease=lease,
            detached=detached,
            request_id=request_id,
            deadline_ms=deadline_ms,
            client_token=client_token,
        )
        return outcome_of("/acquire", granted() if disabled() else self._call("/acquire", parts, wait_ms))

    def complete(self, token: str, result: Any = None, *, ttl: Seconds | None = None) -> None:
        """Ends a claim with a result, which duplicates get. Can be repeated."""
        self.complete_encoded(token, encode("result", result), ttl=ttl)

    def complete_encoded(self, token: str, result: str | None, *, ttl: Seconds | None = None) -> None:
        """Is ``complete`` with the JSON text of a result; None: without a result."""
        parts = [("token", encode("token", token))]
        if result is not None:
            parts.append(("result", result))
        if ttl is not None:
            parts.append(("ttl_seconds", str(-(-_millis("ttl", ttl) // 1000))))
        if not disabled():
            self._call("/complete", parts)

    def fail(self, token: str, error: BaseException | Failure | None = None, *, retry: bool = True) -> None:
        """Ends the claim of work that failed. With ``retry`` the key is free again, else the failure is final."""
        parts = fail_parts(token, error, retry)
        if not disabled():
            self._call("/fail", parts)

    def renew(self, token: str, *, lease: Seconds | None = None) -> int:
        """Gives a claim a new lease. Returns the epoch milliseconds until which it holds."""
        parts = [("token", encode("token", token))]
        if lease is not None:
            parts.append(("lease_ms", str(_millis("lease", lease))))
        until = (granted() if disabled() else self._call("/renew", parts)).get("lease_expires_at")
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
        from .wrap import run

        request = {"key": key, "payload": payload, "scope": scope, "ttl": ttl, "wait": wait, "lease": lease}
        return run(self, request, fn, final_errors)

    def _call(self, path: str, parts: list[tuple[str, str]], wait_ms: int = 0) -> dict[str, Any]:
        return self.send(path, json_object(parts), wait_ms)

    def send(self, path: str, body: str, wait_ms: int = 0) -> dict[str, Any]:
        """Posts a JSON text, for the wrappers."""
        timeout = _TIMEOUT_S + wait_ms / 1000
        until = time.monotonic() + timeout
        port = self._port or _environment_port()
        try:
            answer = self._exchange(port, path, self._secret(), body.encode(), until)
        except socket.timeout as error:
            raise UnavailableError(detail=f"the sidecar on port {port} did not answer {path} within {timeout:g} s") from error
        except ConnectionRefusedError as error:
            raise UnavailableError(detail=f"nothing listens on 127.0.0.1:{port}; is the layer attached?") from error
        except OSError as error:
            raise UnavailableError(detail=f"the connection to the sidecar on port {port} broke: {error}") from error
        except NotHTTP as error:
            raise ProblemError(detail=f"is something else on port {port}? {error}") from error
        try:
            told = json.loads(answer.body)
        except (ValueError, RecursionError):
            told = None
        if answer.status == 200 and isinstance(told, dict):
            return told
        raise _problem(port, path, answer, told if isinstance(told, dict) else {})

    def _exchange(self, port: int, path: str, secret: str, body: bytes, until: float) -> Answer:
        try:
            return self._once(self._pool.take(port), port, path, secret, body, until)
        except (socket.timeout, ConnectionRefusedError):
            raise
        except OSError:
            # The connection broke, and the others may have with it: a sidecar that was started anew knows none of them.
            # Each call can be repeated.
            self._pool.clear()
            return self._once(None, port, path, secret, body, until)

    def _once(self, connection: Connection | None, port: int, path: str, secret: str, body: bytes, until: float) -> Answer:
        connection = connection or Connection(port, until)
        try:
            answer = connection.post(path, secret, body, until)
        except BaseException:  # A KeyboardInterrupt leaves half an answer behind, too.
            connection.close()
            raise
        self._pool.put(connection)
        return answer

    def _secret(self) -> str:
        get = os.environ.get
        secret = self._auth_token or get("IDEMPOTENCY_AUTH_TOKEN") or get("AWS_SESSION_TOKEN") or get("AWS_CONTAINER_AUTHORIZATION_TOKEN") or ""
        if "\r" in secret or "\n" in secret:
            raise ValueError("the secret for the sidecar has a line break in it")
        return secret


def acquire_parts(
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
) -> tuple[list[tuple[str, str]], int]:
    """What an acquire sends, and how long it waits."""
    parts = []
    if key is not None:
        parts.append(("key", encode("key", _key(key))))
    elif event is ABSENT:
        raise TypeError("acquire needs a key, or an event to select it from")
    if event is not ABSENT:
        parts.append(("event", encode("event", event)))
    if key_jmespath is not None:
        parts.append(("key_jmespath", encode("key_jmespath", key_jmespath)))
    if payload is not ABSENT:
        parts.append(("payload", encode("payload", payload)))
    if scope is not None:
        parts.append(("scope", encode("scope", scope)))
    if ttl is not None:
        # Rather remembered too long than too short.
        parts.append(("ttl_seconds", str(-(-_millis("ttl", ttl) // 1000))))
    if lease is not None:
        parts.append(("lease_ms", str(_millis("lease", lease))))
    else:
        deadline_ms = invocation.deadline_ms() if deadline_ms is None else deadline_ms
    if deadline_ms is not None:
        parts.append(("deadline_ms", encode("deadline_ms", deadline_ms)))
    wait_ms = 0
    if wait is not None:
        wait_ms = _millis("wait", wait)
        parts.append(("wait_ms", str(wait_ms)))
    if detached:
        parts.append(("detached", "true"))
    request_id = request_id or invocation.request_id()
    if request_id:
        parts.append(("request_id", encode("request_id", request_id)))
    parts.append(("client_token", encode("client_token", client_token or os.urandom(16).hex())))
    return parts, wait_ms


def outcome_of(path: str, answer: dict[str, Any]) -> Outcome:
    try:
        outcome = Outcome(answer)
    except (KeyError, AttributeError, TypeError) as error:
        raise ProblemError(200, "", f"the answer to {path} is not the sidecar's: {error!r}") from error
    if outcome.status not in ("acquired", "completed", "failed", "in_progress"):
        detail = f"the sidecar answered {path} with the status {outcome.status!r}, which this version does not know"
        raise ProblemError(200, "", detail)
    return outcome


def fail_parts(token: str, error: BaseException | Failure | None, retry: bool) -> list[tuple[str, str]]:
    """What a fail sends."""
    parts = [("token", encode("token", token))]
    if error is not None:
        failure = error if isinstance(error, Failure) else Failure(type(error).__name__, _message(error))
        told = {"type": _clean(failure.type, 256), "message": _clean(failure.message, 2048)}
        parts.append(("error", encode("error", told)))
    parts.append(("retry", "true" if retry else "false"))
    return parts


def json_object(parts: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f'"{name}":{text}' for name, text in parts) + "}"


_default = Client()


def default_client() -> Client:
    """The client that the wrappers use, so that they share connections."""
    return _default


def disabled() -> bool:
    """Whether no sidecar is to be called, so that functions can be tested without one."""
    return os.environ.get("IDEMPOTENCY_DISABLED", "").lower() == "true"


def granted() -> dict[str, Any]:
    """Takes the place of an answer when no sidecar is called."""
    now = int(time.time() * 1000)
    return {"status": "acquired", "token": "disabled", "fence": now, "attempt": 1, "lease_expires_at": now + 15 * 60_000}


def _environment_port() -> int:
    port = os.environ.get("IDEMPOTENCY_PORT") or "2774"
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


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # An error that cannot say what it is must not hide that it is.
        return ""


def _clean(text: str, most: int) -> str:
    """A text cut to what the sidecar keeps of it at most, without what is no character."""
    return text[:most].encode("utf-8", "replace").decode()


def _problem(port: int, path: str, answer: Answer, told: dict[str, Any]) -> ProblemError:
    code, detail = told.get("code"), told.get("detail")
    if not isinstance(code, str) or not code:
        return ProblemError(answer.status, "", f"{path} on port {port} was answered with {answer.status}; is something else on that port?")
    after = answer.headers.get("retry-after", "")
    return named(answer.status, code, detail if isinstance(detail, str) else "", float(after) if after.isascii() and after.isdigit() else None)


def named(status: int, code: str, detail: str, retry_after: float | None) -> ProblemError:
    """A problem as the error that it is known by."""
    if code == "payload_mismatch":
        return PayloadMismatchError(status, code, detail)
    if code == "claim_lost":
        return ClaimLostError(status, code, detail)
    if status == 503:
        return UnavailableError(status, code, detail, retry_after)
    return ProblemError(status, code, detail)
