"""Runs a function once per record of a batch of SQS: all records are claimed in one call, and ended in one of each kind."""

from __future__ import annotations

import time
from functools import wraps

from . import claim as claims
from . import decorators, wrap
from .claim import Claim, Failure
from .client import Client, acquire_request, default_client, disabled, fail_request, granted, named, outcome_of
from .encoding import encode_object
from .errors import ClaimLostError, FailedError, IdempotencyError, InProgressError, ProblemError, UnavailableError
from .invocation import invocation, remaining_ms
from .warn import warn

TYPE_CHECKING = False  # see annotations.py
if not TYPE_CHECKING:

    def overload(signature):
        return signature  # Another definition of the same name follows.

else:
    from collections.abc import Awaitable, Iterator
    from typing import Any, Callable, overload

    from .annotations import FinalErrors, KeyOption, Seconds

# What one call takes. The sidecar takes some more bytes, for what is around the items.
_MOST_ITEMS = 1000
_MOST_BYTES = 6 << 20
# How many records a warning names.
_MOST_TOLD = 20


class HeldBackError(IdempotencyError):
    """A record was claimed and not run; its claim is given back."""


_OUT_OF_ORDER = HeldBackError("an item before it in its group is not done")
_OUT_OF_TIME = HeldBackError("the time left may not be enough for it")
_ENDED_EARLY = HeldBackError("an item before it ended the batch")


@overload
def idempotent_batch(handler: Callable[[Any, Any], Any], /) -> Callable[[Any, Any], Any]: ...
@overload
def idempotent_batch(
    *,
    key: KeyOption = None,
    payload: Callable[[Any, Any], Any] | None = None,
    scope: str | None = None,
    ttl: Seconds | None = None,
    final_errors: FinalErrors = (),
    client: Client | None = None,
) -> Callable[[Callable[[Any, Any], Any]], Callable[[Any, Any], Any]]: ...
def idempotent_batch(handler: Callable[..., Any] | None = None, /, *, key: KeyOption = None, **options: Any) -> Any:
    """Makes of a function ``(record, context)`` a Lambda handler for batches of SQS, which runs it once per record.

    The handler returns ``batchItemFailures``: the records that are not done. The event source mapping has to have
    ReportBatchItemFailures.

    ``key`` is the JMESPath expression that selects the key from a record, or a function of ``(record, context)`` that
    returns a string or a pair of strings. Without it, the key is the record's ``messageId``.
    """
    if handler is not None and not callable(handler):
        raise TypeError(f"@idempotent_batch takes its options by name: key={handler!r}")
    made_by = decorators.request_maker(key, options, ("payload", "scope", "ttl", "final_errors", "client"))

    def decorate(fn: Callable[..., Any]) -> Callable[..., Any]:
        decorators.check(fn, "idempotent_batch")

        def request(record: dict[str, Any], context: Any) -> dict[str, Any]:
            made = made_by((record, context), {})
            if isinstance(key, str):
                return {**made, "event": record, "key_jmespath": key}
            return made if key else {**made, "key": record["messageId"]}

        def batch(event: Any, context: Any) -> Batch:
            client: Client = options.get("client") or default_client()
            return Batch(client, _records(event), lambda record: request(record, context), options.get("final_errors", ()))

        if decorators.is_coroutine(fn):

            @wraps(fn)
            async def async_wrapper(event: Any, context: Any = None) -> Any:
                with invocation(context):
                    return await run_batch_async(batch(event, context), lambda record: fn(record, context))

            return async_wrapper

        @wraps(fn)
        def wrapper(event: Any, context: Any = None) -> Any:
            with invocation(context):
                return run_batch_here(batch(event, context), lambda record: fn(record, context))

        return wrapper

    return decorate if handler is None else decorate(handler)


def run_batch_here(batch: Batch, work: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    batch.acquire()
    try:
        for task in batch.turns():
            with task:
                wrap.refuse_awaitable(work(task.record))
    finally:
        batch.end()
    return batch.report()


async def run_batch_async(batch: Batch, work: Callable[[dict[str, Any]], Awaitable[Any]]) -> dict[str, Any]:
    import asyncio  # It is slow to import, and not needed by other functions.

    from .threads import begin_acquire, to_its_end

    future = begin_acquire(batch.acquire)
    try:
        await asyncio.wrap_future(future)
    except (asyncio.CancelledError, GeneratorExit):
        # Claims that are granted to nobody are given back.
        future.add_done_callback(lambda _: batch.end())
        raise
    try:
        for task in batch.turns():
            with task:
                await work(task.record)
    except GeneratorExit:
        batch.end()  # The coroutine was thrown away: it may not wait for anything anymore.
        raise
    except BaseException:
        await to_its_end(batch.end)
        raise
    await to_its_end(batch.end)
    return batch.report()


def _records(event: Any) -> list[dict[str, Any]]:
    records = event.get("Records") if isinstance(event, dict) else None
    if not isinstance(records, list):
        raise ValueError("@idempotent_batch takes events of SQS, and this one has no Records")
    for i, record in enumerate(records):
        if not isinstance(record, dict) or not isinstance(record.get("messageId"), str) or not record["messageId"]:
            raise ValueError(f"@idempotent_batch takes events of SQS, and record {i} of this one has no messageId")
    return records


class Task:
    """A record and what is known of it. ``with`` it, its work runs."""

    def __init__(self, record: dict[str, Any]) -> None:
        self.record = record
        self.id: str = record["messageId"]
        self.group = _group(record)
        self.held: Claim | None = None
        """The claim. Without one the record is not to be run."""
        self.first: Task | None = None
        """The record that this one shares its fate with."""
        self.ran = False
        self.completed = False
        """The work is done, and that was told or tried to be."""
        self.error: BaseException | None = None
        """What kept the record from being done."""
        self.took = 0.0

    def __enter__(self) -> None:
        assert self.held is not None
        self.ran = True
        self._before = claims.enter(self.held)
        self._began = time.monotonic()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        claims.leave(self._before)
        self.took = time.monotonic() - self._began
        self.error = error
        # An error of one record does not keep the others from being run. What is more than an error does.
        return isinstance(error, Exception)

    def fate(self) -> BaseException | None:
        return self.first.fate() if self.first else self.error


def _group(record: dict[str, Any]) -> str | None:
    """What SQS keeps in order; None: nothing."""
    if not str(record.get("eventSourceARN")).endswith(".fifo"):
        return None
    attributes = record.get("attributes")
    return str(attributes.get("MessageGroupId")) if isinstance(attributes, dict) else ""


class Batch:
    """What is done around the work: one thread at a time calls this."""

    def __init__(
        self,
        client: Client,
        records: list[dict[str, Any]],
        request: Callable[[dict[str, Any]], dict[str, Any]],
        final_errors: FinalErrors,
    ) -> None:
        self._client = client
        self._request = request
        self._final_errors = final_errors
        self._tasks = [Task(record) for record in records]
        left_ms = remaining_ms()
        left = None if left_ms is None else left_ms / 1000
        self._until = None if left is None else time.monotonic() + left
        # Room for the ends.
        self._margin = 0.0 if left is None else min(1 + len(records) / 1000, left / 5)

    def acquire(self) -> None:
        """Asks for all claims. Raises an error if none was answered, or all were refused because the store is away."""
        sending = []
        for task in self._tasks:
            try:
                text = encode_object(acquire_request(**self._request(task.record)))
                if disabled():
                    task.held = Claim(self._client, outcome_of("/acquire/batch", granted()))
                else:
                    sending.append((task, text))
            except Exception as error:  # What is wrong with a record is that record's fate.
                task.error = error
        answered = False
        away: IdempotencyError | None = None
        for chunk in _chunks(sending):
            try:
                answers = self._call("/acquire/batch", chunk)
            except ProblemError as error:
                for task, _ in chunk:
                    task.error = error
                away = away or error
                continue
            tasks = [task for task, _ in chunk]
            for at, answer in enumerate(answers):
                try:
                    _answered(self._client, tasks, at, answer)
                except IdempotencyError as error:
                    tasks[at].error = error
                    if isinstance(error, UnavailableError):
                        away = away or error
                        continue
                answered = True
        if away and not answered:
            raise away

    def turns(self) -> Iterator[Task]:
        """The records to be run, one after the other."""
        stopped = set()
        longest = 0.0
        for task in self._tasks:
            if task.held:
                if task.group in stopped:
                    task.error = _OUT_OF_ORDER
                elif self._until is not None and self._until - time.monotonic() < self._margin + longest:
                    task.error = _OUT_OF_TIME
                else:
                    yield task
                    longest = max(longest, task.took)
            if task.fate() is not None and task.group is not None:
                stopped.add(task.group)

    def end(self) -> None:
        """Ends all claims that are held."""
        for task in self._tasks:
            if task.held and not task.ran and not task.error:
                task.error = _ENDED_EARLY
        if disabled():
            return
        self._complete()
        self._fail()

    def _complete(self) -> None:
        sending = []
        for task in self._tasks:
            if task.held and task.ran and task.error is None:
                task.completed = True
                sending.append((task, encode_object({"token": task.held.token})))
        unstored = []
        for task, problem in self._ends("/complete/batch", sending):
            if isinstance(problem, ClaimLostError):
                task.error = problem
            elif problem:
                unstored.append(problem)
        if unstored:
            # The sidecar goes on trying to store ends that it knows of, and the claims hold until the deadline.
            warn("the work of some records is done, but that could not be stored, %d in all: %s", len(unstored), unstored[0])

    def _fail(self) -> None:
        sending = []
        for task in self._tasks:
            if task.held and task.error is not None and not task.completed:
                told: BaseException | Failure = task.error
                if not task.ran:
                    # Under this type the runtime proxy gives claims up, too.
                    told = Failure("Idempotency.HeldBack", str(task.error))
                request = fail_request(task.held.token, told, retry=not (task.ran and isinstance(task.error, self._final_errors)))
                sending.append((task, encode_object(request)))
        unstored = [problem for _, problem in self._ends("/fail/batch", sending) if problem]
        if unstored:
            warn("the work of some records failed, but that could not be stored, %d in all: %s", len(unstored), unstored[0])

    def _ends(self, path: str, sending: list[tuple[Task, str]]) -> Iterator[tuple[Task, IdempotencyError | None]]:
        for chunk in _chunks(sending):
            try:
                problems: list[IdempotencyError | None] = [_problem(answer) for answer in self._call(path, chunk)]
            except ProblemError as error:
                problems = [error] * len(chunk)
            for (task, _), problem in zip(chunk, problems):
                yield task, problem

    def _call(self, path: str, chunk: list[tuple[Task, str]]) -> list[dict[str, Any]]:
        answer = self._client.send(path, '{"items":[' + ",".join(text for _, text in chunk) + "]}").get("items")
        if not isinstance(answer, list) or len(answer) != len(chunk) or not all(isinstance(item, dict) for item in answer):
            raise ProblemError(200, "", f"the answer to {path} is not the sidecar's: it is no list of {len(chunk)} items")
        return answer

    def report(self) -> dict[str, Any]:
        """The partial batch response. What it reports is logged: nobody else sees the errors."""
        reported: dict[str, None] = {}  # In order, and each once.
        alike: dict[str, list[tuple[Task, BaseException]]] = {}
        for task in self._tasks:
            error = task.fate()
            if error is None:
                continue
            reported[task.id] = None
            if not task.first and not task.completed and (task.ran or not isinstance(error, IdempotencyError)):
                warn("the record %s failed, and is reported as a batch item failure", task.id, error=error)
            else:
                alike.setdefault(_kind(error), []).append((task, error))
        for of in alike.values():
            ids = ", ".join(task.id for task, _ in of[:_MOST_TOLD])
            warn("reported as batch item failures, %d in all: %s%s: %s", len(of), ids, ", …" if len(of) > _MOST_TOLD else "", of[0][1])
        return {"batchItemFailures": [{"itemIdentifier": name} for name in reported]}


def _chunks(sending: list[tuple[Task, str]]) -> Iterator[list[tuple[Task, str]]]:
    chunk: list[tuple[Task, str]] = []
    size = 0
    for one in sending:
        length = len(one[1].encode()) + 1
        if chunk and (len(chunk) == _MOST_ITEMS or size + length > _MOST_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(one)
        size += length
    if chunk:
        yield chunk


def _answered(client: Client, tasks: list[Task], at: int, answer: dict[str, Any]) -> None:
    """Takes in the answer to a record's acquire. What is raised keeps it from being done."""
    problem = _problem(answer)
    if problem:
        if problem.code == "too_large":
            return  # It is done, and only its result has no room in the answer.
        raise problem
    outcome = outcome_of("/acquire/batch", answer)
    first = answer.get("same_as")
    if first is not None and not (type(first) is int and 0 <= first < at):
        raise ProblemError(200, "", f"the answer to /acquire/batch is not the sidecar's: same_as is {first!r}")
    if outcome.status == "acquired":
        tasks[at].held = Claim(client, outcome)
    elif outcome.status == "completed":
        pass
    elif first is not None:
        tasks[at].first = tasks[first]
    elif outcome.status == "failed":
        failure = outcome.error
        raise FailedError(failure.type if failure else "", failure.message if failure else "")
    else:
        raise InProgressError(outcome.request_id, outcome.retry_after, outcome.lease_expires_at)


def _problem(answer: dict[str, Any]) -> ProblemError | None:
    """The problem that an item was answered with. Nothing but a problem has a code."""
    code = answer.get("code")
    if not isinstance(code, str) or not code:
        return None
    status, after = answer.get("status"), answer.get("retry_after_ms")
    retry_after = after / 1000 if isinstance(after, (int, float)) else None
    return named(status if isinstance(status, int) else 0, code, str(answer.get("detail", "")), retry_after)


def _kind(error: BaseException) -> str:
    """The same for errors that one warning tells of."""
    if isinstance(error, ProblemError):
        return error.code
    if isinstance(error, InProgressError):
        return type(error).__name__
    try:
        return repr(error)
    except Exception:  # Anything can be raised, also what raises when it is asked.
        return type(error).__name__
