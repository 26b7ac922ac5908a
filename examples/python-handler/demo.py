"""Shows what the handler in app.py does with duplicate launches, on this machine, without AWS.

    python3 demo.py PATH_OF_THE_LAMBDA_IDEMPOTENCY_BINARY

It starts the sidecar on a file of its own, launches the handler in several processes, as Lambda would in several
environments, and prints what each launch did and what is on record. Its exit code is not 0 if any work ran twice, or
anything else was not as promised.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import http.client
import json
import logging
import multiprocessing
import os
import pathlib
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unicodedata
import urllib.parse
import uuid
from typing import Any, Callable, Iterator, Optional

HERE = pathlib.Path(__file__).resolve().parent
# Where the client is without the layer; the processes of the launches look there, too.
sys.path.insert(0, str(HERE.parents[1] / "client" / "python"))

import app  # noqa: E402

LAUNCHES_AT_ONCE = 5
WORK_S = 0.3
TIMEOUT_S = 10
START_S = 10

# The original sample's words for a duplicate, which app.py keeps.
IN_ENGLISH = {"lambdaが多重起動したため処理を終了しました。": "launched more than once, so this launch ended without the work"}

EVENT = json.loads((HERE / "event.json").read_text(encoding="utf-8"))


# --- One launch, in a process of its own ------------------------------------------------------------------------------

together: Any  # A barrier, for launches at once.
ledger_path: str  # The file in which the work counts itself.


class Context:
    """What the handler uses of Lambda's context."""

    def __init__(self) -> None:
        self.aws_request_id = str(uuid.uuid4())
        self._deadline = time.monotonic() + TIMEOUT_S

    def get_remaining_time_in_millis(self) -> int:
        return int((self._deadline - time.monotonic()) * 1000)


@dataclasses.dataclass
class Order:
    """A launch to be made."""

    event: dict[str, Any]
    name: str
    fails: bool = False
    retry_failed: bool = False
    together: bool = False


@dataclasses.dataclass
class Launch:
    """What a launch did."""

    name: str
    request_id: str
    warnings: list[str]
    worked: bool
    took_ms: int
    returned: Any
    raised: str


class Warnings(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:
            self.seen.append(record.getMessage())


def enter_process(barrier: Any, ledger: str) -> None:
    """Readies a process of the pool."""
    global together, ledger_path
    together, ledger_path = barrier, ledger
    app.logger.propagate = False
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # An interrupt is for the demo, which ends the pool.


def launch(order: Order) -> Launch:
    context = Context()
    warnings = Warnings()
    app.logger.handlers = [warnings]
    app.process = worker(order, context)
    app.RETRY_FAILED = order.retry_failed
    if order.together:
        together.wait(timeout=START_S)
    returned, raised = None, ""
    start = time.monotonic()
    try:
        returned = app.handler(order.event, context)
    except Exception as error:
        raised = f"{type(error).__name__}: {error}"
    took_ms = round((time.monotonic() - start) * 1000)
    return Launch(order.name, context.aws_request_id, warnings.seen, context.aws_request_id in worked(order.event),
                  took_ms, returned, raised)


def worker(order: Order, context: Context) -> Callable[[dict[str, Any]], Any]:
    """The work. It counts itself in a file that the sidecar knows nothing of."""

    def process(event: dict[str, Any]) -> Any:
        line = json.dumps([event["JobId"], context.aws_request_id]) + "\n"
        file = os.open(ledger_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, line.encode())
        os.close(file)
        time.sleep(WORK_S)
        if order.fails:
            raise FileNotFoundError(f"no such object: {event['ObjKey']}")
        return {"processed": event["ObjKey"]}

    return process


def worked(event: dict[str, Any]) -> list[str]:
    """The request ids of all runs of a job's work."""
    try:
        lines = pathlib.Path(ledger_path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [request_id for job, request_id in map(json.loads, lines) if job == event["JobId"]]


# --- The sidecar ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def sidecar(binary: str, folder: pathlib.Path, settings: Optional[dict[str, str]] = None) -> Iterator[None]:
    """Runs the sidecar, on a file unless settings say otherwise, and tells the client of it through the environment."""
    for name in [name for name in os.environ if name.startswith(("IDEMPOTENCY_", "AWS_LAMBDA_"))]:
        del os.environ[name]
    os.environ["IDEMPOTENCY_AUTH_TOKEN"] = secrets.token_hex(16)
    process = None
    try:
        # Another process may take the free port before the sidecar does.
        for _ in range(3):
            os.environ["IDEMPOTENCY_PORT"] = str(free_port())
            process = start(binary, folder, settings or {})
            if process:
                break
        else:
            sys.exit("the sidecar did not start:\n" + (folder / "sidecar.log").read_text(errors="replace"))
        yield
    finally:
        if process:
            stop(process)


def start(binary: str, folder: pathlib.Path, settings: dict[str, str]) -> Optional[subprocess.Popen[bytes]]:
    store = f"file:{folder / 'records.db'}"
    env = {**os.environ, "IDEMPOTENCY_STORE": store, "AWS_LAMBDA_FUNCTION_NAME": "python-handler", **settings}
    with open(folder / "sidecar.log", "ab") as log:
        try:
            process = subprocess.Popen([binary], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        except OSError as error:
            sys.exit(f"{binary} cannot be run: {error}")
    try:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError):
                get("/health")
                return process
            time.sleep(0.02)
    except BaseException:
        stop(process)
        raise
    stop(process)
    return None


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def get(path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["IDEMPOTENCY_PORT"]), timeout=5)
    try:
        connection.request("GET", path, headers={"X-Idempotency-Auth": os.environ["IDEMPOTENCY_AUTH_TOKEN"]})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


def record_of(event: dict[str, Any]) -> dict[str, Any]:
    query = urllib.parse.urlencode([("key", event["JobId"]), ("key", event["ObjKey"])])
    status, record = get(f"/record?{query}")
    return record if status == 200 else {}


# --- The cases --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Case:
    title: str
    event: dict[str, Any]
    orders: list[Order]
    promised_runs: int
    promised_record: dict[str, Any]
    promised_history: list[str]


def cases() -> list[Case]:
    """Each has a job of its own; the first is the event as it is."""

    def job(n: int) -> dict[str, Any]:
        return {**EVENT, "JobId": str(int(EVENT["JobId"]) + n)}

    twice, at_once, failed, retried = job(0), job(1), job(2), job(3)
    done = ["INPROGRESS", "COMPLETED"]
    return [
        Case("launched twice, one after the other", twice, [Order(twice, "first"), Order(twice, "second")],
             1, {"status": "COMPLETED", "attempt": 1}, done),
        Case(f"launched {LAUNCHES_AT_ONCE} times at once", at_once,
             [Order(at_once, f"{n} of {LAUNCHES_AT_ONCE}", together=True) for n in range(1, LAUNCHES_AT_ONCE + 1)],
             1, {"status": "COMPLETED", "attempt": 1}, done),
        Case("fails, then Lambda retries: a failed job stays failed", failed,
             [Order(failed, "first", fails=True), Order(failed, "retry")],
             1, {"status": "FAILED", "attempt": 1}, ["INPROGRESS", "FAILED"]),
        Case("fails, then Lambda retries, with RETRY_FAILED=1: the retry runs", retried,
             [Order(retried, "first", fails=True, retry_failed=True), Order(retried, "retry", retry_failed=True)],
             2, {"status": "COMPLETED", "attempt": 2}, ["INPROGRESS", "RELEASED", *done]),
    ]


def run_case(case: Case, pool: concurrent.futures.Executor) -> list[Launch]:
    if case.orders[0].together:
        return list(pool.map(launch, case.orders))
    return [pool.submit(launch, order).result() for order in case.orders]


def broken_promises(case: Case, launches: list[Launch], runs: int, record: dict[str, Any]) -> list[str]:
    """What was not as it must be."""
    wrong = []
    if runs != case.promised_runs:
        wrong.append(f"the work ran {times(runs)}, not {times(case.promised_runs)}")
    response = app.respond({"processed": case.event["ObjKey"]})
    for done, order in zip(launches, case.orders):
        if done.worked and order.fails:
            wanted, got = f"RuntimeError: {app.FAILED}", done.raised
        else:
            wanted, got = "", done.raised
        if got != wanted:
            wrong.append(f"launch {done.name!r} raised {got or 'nothing'}, not {wanted or 'anything'}")
        if done.worked and not order.fails and done.returned != response:
            wrong.append(f"launch {done.name!r} worked and returned {done.returned}")
        if not done.worked and not is_duplicates_answer(done.returned, record, response):
            wrong.append(f"launch {done.name!r} was a duplicate and returned {done.returned}")
        if done.warnings != ([] if done.worked else [app.DUPLICATE]):
            wrong.append(f"launch {done.name!r} logged the warnings {done.warnings}")
    for name, value in case.promised_record.items():
        if record.get(name) != value:
            wrong.append(f"the record's {name} is {record.get(name)!r}, not {value!r}")
    history = [entry["status"] for entry in record.get("history", [])]
    if history != case.promised_history:
        wrong.append(f"the record's history is {history}, not {case.promised_history}")
    return wrong


def is_duplicates_answer(returned: Any, record: dict[str, Any], response: Any) -> bool:
    """A duplicate is told what is known at that moment: the result, the failure, or that the work is under way."""
    told = [app.respond({"status": "in_progress"})]
    if record.get("status") == "COMPLETED":
        told.append(response)
    if record.get("status") == "FAILED":
        told = [app.respond({"status": "failed", "error": {"type": "RuntimeError", "message": app.FAILED}})]
    return returned in told


# --- The report -------------------------------------------------------------------------------------------------------


def times(n: int) -> str:
    return {1: "once", 2: "twice"}.get(n, f"{n} times")


def counted(launches: list[Launch]) -> str:
    failed = sum(done.worked and bool(done.raised) for done in launches)
    return f", and failed {times(failed)}" if failed else ""


def outcome(done: Launch) -> str:
    if done.worked:
        return "failed" if done.raised else "ran"
    return "error" if done.raised else "duplicate"


def print_table(heads: list[str], rows: list[list[Any]]) -> None:
    lines = [heads] + [[str(cell) for cell in row] for row in rows]
    widths = [max(map(width, column)) for column in zip(*lines)]
    for line in lines:
        print("  " + "  ".join(cell + " " * (w - width(cell)) for cell, w in zip(line, widths)).rstrip())


def width(text: str) -> int:
    """The columns a text takes in a terminal."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def print_launches(launches: list[Launch]) -> None:
    print_table(
        ["launch", "outcome", "worked", "warned", "took", "returned or raised"],
        [[done.name, outcome(done), yes(done.worked), yes(bool(done.warnings)), f"{done.took_ms} ms",
          done.raised or shown(done.returned)] for done in launches],
    )
    for text in sorted({text for done in launches for text in done.warnings}):
        print(f"  [WARNING] {text}")
        if text in IN_ENGLISH:
            print(f"            ({IN_ENGLISH[text]})")


def print_records(records: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    print("\nThe records")
    print_table(
        ["key", "status", "attempt", "fence", "request", "result or error", "history"],
        [[f"{event['JobId']} {event['ObjKey']}", record.get("status", "none"), record.get("attempt", "-"),
          record.get("fence", "-"), record.get("request_id", "-")[:8], ended_as(record),
          " > ".join(entry["status"] for entry in record.get("history", [])) or "-"] for event, record in records],
    )


def ended_as(record: dict[str, Any]) -> str:
    if record.get("status") == "COMPLETED":
        return shown(record.get("result"))
    error = record.get("error")
    return f"{error['type']}: {error['message']}" if error else "-"


def yes(it_is: bool) -> str:
    return "yes" if it_is else "no"


def shown(response: Any) -> str:
    """A response as status and body."""
    if isinstance(response, dict) and set(response) == {"statusCode", "body"}:
        return f"{response['statusCode']} {response['body']}"
    return json.dumps(response, ensure_ascii=False)


def run(binary: str, folder: pathlib.Path) -> int:
    global ledger_path
    ledger_path = str(folder / "work.jsonl")
    wrong: list[str] = []
    records = []
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(LAUNCHES_AT_ONCE)
    with contextlib.ExitStack() as open_things:
        open_things.enter_context(sidecar(binary, folder))
        pool = open_things.enter_context(concurrent.futures.ProcessPoolExecutor(
            LAUNCHES_AT_ONCE, spawn, enter_process, (barrier, ledger_path)))
        open_things.callback(barrier.abort)  # Nobody waits for launches that an interrupt kept from being made.
        for case in cases():
            print(f"\nJob {case.event['JobId']} {case.title}", flush=True)
            launches = run_case(case, pool)
            record, runs = record_of(case.event), len(worked(case.event))
            records.append((case.event, record))
            print_launches(launches)
            print(f"  The work ran {times(runs)}{counted(launches)}.")
            wrong += [f"job {case.event['JobId']}: {text}" for text in broken_promises(case, launches, runs, record)]
    print_records(records)
    print("\nNOT AS PROMISED\n  " + "\n  ".join(wrong) if wrong else "\nAll as promised.")
    return 1 if wrong else 0


def main(args: list[str]) -> int:
    if len(args) != 1:
        print("usage: python3 demo.py PATH_OF_THE_LAMBDA_IDEMPOTENCY_BINARY", file=sys.stderr)
        return 2
    # As an exception, which lets go of everything on its way.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="lambda-idempotency-demo-") as folder:
        return run(os.path.abspath(args[0]), pathlib.Path(folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
