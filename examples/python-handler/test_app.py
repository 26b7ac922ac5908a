"""Tests of the handler and its demo against the real sidecar, without AWS.

    python3 -m unittest discover -s examples/python-handler

LAMBDA_IDEMPOTENCY_BIN names the sidecar's binary; without it, bin/lambda-idempotency at the root of the repository.
"""

from __future__ import annotations

import ast
import http.client
import http.server
import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest
from typing import Any, Callable, Optional
from unittest import mock

import demo  # It says where the client is.

import app
from lambda_idempotency import ProblemError, UnavailableError

HERE = demo.HERE
BINARY = os.environ.get("LAMBDA_IDEMPOTENCY_BIN") or str(HERE.parents[1] / "bin" / "lambda-idempotency")
DAY_S = 24 * 60 * 60

# When the claim of an invocation of one second can be taken over: IDEMPOTENCY_CLOCK_SKEW after its deadline.
OVER_BY_EVERY_CLOCK_S = 2.1


class Context(demo.Context):
    def __init__(self, remaining_s: float = 10) -> None:
        super().__init__()
        self._deadline = time.monotonic() + remaining_s


class SidecarTest(unittest.TestCase):
    """Each test has a sidecar of its own, with what settings it asks for."""

    settings: dict[str, str] = {}

    def setUp(self) -> None:
        if not os.access(BINARY, os.X_OK):
            missing = f"{BINARY} is missing: build it, or name it with LAMBDA_IDEMPOTENCY_BIN"
            if os.environ.get("CI") == "true":
                self.fail(missing)
            self.skipTest(missing)
        self.event = dict(demo.EVENT)
        self.runs: list[dict[str, Any]] = []
        self.enter(mock.patch.dict(os.environ))
        self.folder = pathlib.Path(self.enter(tempfile.TemporaryDirectory()))
        self.enter(demo.sidecar(BINARY, self.folder, self.settings))
        self.port = int(os.environ["IDEMPOTENCY_PORT"])

    def enter(self, manager: Any) -> Any:
        value = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)
        return value

    def through(self, script: dict[str, list[Any]]) -> Proxy:
        """Puts a proxy between the handler and the sidecar."""
        proxy: Proxy = self.enter(Proxy(self.port, script))
        os.environ["IDEMPOTENCY_PORT"] = str(proxy.server_port)
        return proxy

    def launch(self, context: Optional[Context] = None, do: Optional[Callable[[], Any]] = None) -> Any:
        """One launch of the handler, on whose work it keeps count."""

        def process(event: dict[str, Any]) -> Any:
            self.runs.append(event)
            return do() if do else {"processed": event["ObjKey"]}

        with mock.patch.object(app, "process", process):
            return app.handler(self.event, context or Context())

    def fail_once(self, context: Optional[Context] = None) -> list[str]:
        """A launch whose work fails; it returns what was logged."""
        message = f"^{re.escape(app.FAILED)}$"
        with self.assertLogs(app.logger) as logs, self.assertRaisesRegex(RuntimeError, message) as caught:
            self.launch(context, broken_work)
        self.assertIsInstance(caught.exception.__cause__, FileNotFoundError)
        return logs.output

    def assert_duplicate(self, returned_body: Any, do: Optional[Callable[[], Any]] = None) -> None:
        """One more launch does no work, logs the one warning and answers 200 at once."""
        before, start = len(self.runs), time.monotonic()
        with self.assertLogs(app.logger, "DEBUG") as logs:
            returned = self.launch(do=do)
        self.assertLess(time.monotonic() - start, 1)
        self.assertEqual(logs.output, [f"WARNING:app:{app.DUPLICATE}"])
        self.assertEqual(len(self.runs), before)
        self.assertEqual(returned["statusCode"], 200)
        self.assertEqual(json.loads(returned["body"]), returned_body)

    def record(self) -> dict[str, Any]:
        return demo.record_of(self.event)

    def statuses(self) -> list[str]:
        return [entry["status"] for entry in self.record()["history"]]


def broken_work() -> Any:
    raise FileNotFoundError("no such object: the detail for the log")


IN_PROGRESS = {"status": "in_progress"}
PROCESSED = {"processed": "sun-ada-bucket-tokyo/smallfile"}
ERROR = {"type": "RuntimeError", "message": "An unexpected error has occurred."}
JOB_FAILED = {"status": "failed", "error": ERROR}


class BehaviourKept(SidecarTest):
    def test_both_fields_are_the_key(self) -> None:
        self.assertEqual(self.event, {"JobId": "12345", "ObjKey": "sun-ada-bucket-tokyo/smallfile"})
        self.launch()
        for name in self.event:
            self.event = {**demo.EVENT, name: "another"}
            self.launch()
        self.assertEqual(len(self.runs), 3)
        self.event = dict(demo.EVENT)
        self.assert_duplicate(PROCESSED)

    def test_a_field_is_missing(self) -> None:
        del self.event["ObjKey"]
        with self.assertRaises(KeyError):
            self.launch()
        self.assertEqual(self.runs, [])

    def test_record_at_the_start(self) -> None:
        context, seen = Context(), []
        start = time.time()
        self.launch(context, lambda: seen.append(self.record()))
        record = seen[0]
        self.assertEqual(record["status"], "INPROGRESS")
        self.assertEqual(record["request_id"], context.aws_request_id)
        self.assertEqual(record["function"], "python-handler")
        self.assertRegex(record["created_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertNotIn("error", record)
        self.assertAlmostEqual(record["expiration"], start + demo.TIMEOUT_S + DAY_S, delta=5)
        self.assertEqual([entry["status"] for entry in record["history"]], ["INPROGRESS"])

    def test_success(self) -> None:
        returned = self.launch()
        self.assertEqual(returned, {"statusCode": 200, "body": json.dumps(PROCESSED)})
        record = self.record()
        self.assertEqual((record["status"], record["result"], record["attempt"]), ("COMPLETED", returned, 1))
        self.assertAlmostEqual(record["expiration"], time.time() + DAY_S, delta=5)
        self.assertEqual(self.statuses(), ["INPROGRESS", "COMPLETED"])

    def test_error(self) -> None:
        logged = "\n".join(self.fail_once())
        # The real error is in the log, with its traceback.
        self.assertIn("FileNotFoundError: no such object: the detail for the log", logged)
        self.assertIn("Traceback", logged)
        record = self.record()
        self.assertEqual(record["status"], "FAILED")
        self.assertEqual(record["error"], ERROR)
        self.assertEqual(self.statuses(), ["INPROGRESS", "FAILED"])
        self.assertEqual(record["history"][1]["detail"], ERROR["message"])

    def test_result_that_fits_no_json_is_an_error(self) -> None:
        for value in (object(), float("nan")):
            self.event["JobId"] += "0"
            with self.assertLogs(app.logger), self.assertRaises(RuntimeError):
                self.launch(do=lambda v=value: v)
            self.assertEqual(self.record()["status"], "FAILED")

    def test_duplicate_of_a_running_launch(self) -> None:
        self.launch(do=lambda: self.assert_duplicate(IN_PROGRESS))
        self.assertEqual(len(self.runs), 1)

    def test_duplicate_of_a_finished_launch(self) -> None:
        self.launch()
        self.assert_duplicate(PROCESSED)
        self.assertEqual(self.statuses(), ["INPROGRESS", "COMPLETED"])

    def test_duplicate_of_a_failed_launch(self) -> None:
        self.fail_once()
        self.assert_duplicate(JOB_FAILED)
        self.assert_duplicate(JOB_FAILED)
        self.assertEqual(len(self.runs), 1)

    def test_failed_job_runs_again_where_that_is_wanted(self) -> None:
        with mock.patch.object(app, "RETRY_FAILED", True):
            self.fail_once()
            self.assertEqual(self.launch()["body"], json.dumps(PROCESSED))
        self.assertEqual((self.record()["attempt"], len(self.runs)), (2, 2))
        self.assert_duplicate(PROCESSED)


class ExpiryIsExact(SidecarTest):
    """Row 6 of what is kept, and fault a: a record counts until its TTL, and not a second longer."""

    settings = {"IDEMPOTENCY_TTL": "2s"}

    def test_expired_record_does_not_block(self) -> None:
        self.launch()
        self.assert_duplicate(PROCESSED)
        time.sleep(max(0.0, self.record()["expiration"] - time.time()) + 0.01)
        self.assertEqual(self.record(), {})
        self.launch()
        self.assertEqual((len(self.runs), self.record()["attempt"]), (2, 1))


class FaultsLeftBehind(SidecarTest):
    def test_b_run_that_never_ended_blocks_until_its_deadline_only(self) -> None:
        crashed = os.fork()
        if not crashed:
            self.launch(Context(remaining_s=1), lambda: os._exit(7))
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(crashed, 0)[1]), 7)
        self.assert_duplicate(IN_PROGRESS)
        time.sleep(OVER_BY_EVERY_CLOCK_S)
        self.launch()
        self.assertEqual((len(self.runs), self.record()["attempt"]), (1, 2))

    def test_c_real_error_reaches_the_caller_though_it_cannot_be_recorded(self) -> None:
        def break_off_and_fail() -> None:
            os.environ["IDEMPOTENCY_PORT"] = str(demo.free_port())
            broken_work()

        with self.assertLogs() as logs, self.assertRaises(RuntimeError) as caught:
            self.launch(Context(remaining_s=2), break_off_and_fail)
        self.assertIsInstance(caught.exception.__cause__, FileNotFoundError)
        self.assertIn("FileNotFoundError: no such object: the detail for the log", logs.output[0])
        self.assertIn("the work failed, but that could not be stored", logs.output[-1])

    def test_c_layer_is_missing(self) -> None:
        os.environ["IDEMPOTENCY_PORT"] = str(demo.free_port())
        with self.assertRaisesRegex(UnavailableError, "nothing listens on 127.0.0.1.*layer attached"):
            self.launch()
        self.assertEqual(self.runs, [])

    def test_c_secret_is_wrong(self) -> None:
        os.environ["IDEMPOTENCY_AUTH_TOKEN"] = "wrong"
        with self.assertRaisesRegex(ProblemError, "unauthorized.*X-Idempotency-Auth"):
            self.launch()
        self.assertEqual(self.runs, [])

    def test_d_late_run_does_not_overwrite_the_next_one(self) -> None:
        def outlive_the_deadline() -> Any:
            time.sleep(OVER_BY_EVERY_CLOCK_S)
            self.launch(do=lambda: "of the second run")
            return "of the late run"

        with self.assertLogs(app.logger, "ERROR") as logs:
            late = self.launch(Context(remaining_s=1), outlive_the_deadline)
        self.assertIn("claim_lost", logs.output[0])
        self.assertEqual(late["body"], '"of the late run"')
        self.assertEqual(self.record()["result"]["body"], '"of the second run"')
        self.assert_duplicate("of the second run")

    def test_e_duplicate_gets_the_result_unchanged(self) -> None:
        for value in (None, 0, "", {}, [], 2**53 + 1, 0.1, "冪等性", "\ud800", {"a": [1, {"b": None}]}):
            self.event["JobId"] += "0"
            with self.subTest(value=value):
                first = self.launch(do=lambda v=value: v)
                with self.assertLogs(app.logger):
                    self.assertEqual(self.launch(), first)

    def test_f_lost_answer_does_not_make_a_duplicate_of_itself(self) -> None:
        for path in ("/acquire", "/complete"):
            with self.subTest(path=path):
                self.event["JobId"] += "0"
                proxy = self.through({path: ["drop"]})
                self.assertEqual(self.launch()["body"], json.dumps(PROCESSED))
                self.assertEqual(proxy.paths.count(path), 2)
                self.assertEqual(self.record()["status"], "COMPLETED")
                self.assert_duplicate(PROCESSED)
        self.assertEqual(len(self.runs), 2)

    def test_g_nothing_but_the_client(self) -> None:
        tree = ast.parse((HERE / "app.py").read_text(encoding="utf-8"))
        names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
        names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        self.assertEqual(names, {"__future__", "json", "lambda_idempotency", "logging", "os", "typing"})


class StoreAway(SidecarTest):
    """Fault c, with DynamoDB out of reach of the sidecar itself."""

    settings = {
        "IDEMPOTENCY_STORE": "dynamodb", "IDEMPOTENCY_TABLE_NAME": "jobs", "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:9",
    }

    def test_nothing_runs(self) -> None:
        context = Context(remaining_s=2)
        with self.assertRaisesRegex(UnavailableError, "store_unavailable: DynamoDB cannot be reached"):
            self.launch(context)
        self.assertGreater(context.get_remaining_time_in_millis(), 0)
        self.assertEqual(self.runs, [])


class StoreGoesAway(SidecarTest):
    """The work is done, and its end meets a store that is away."""

    def test_result_is_returned(self) -> None:
        proxy = self.through({"/complete": [503] * 99})
        with self.assertLogs() as logs:
            returned = self.launch()
        self.assertEqual(returned["body"], json.dumps(PROCESSED))
        self.assertEqual(len(logs.output), 1)
        self.assertIn("the work is done, but that could not be stored: store_unavailable", logs.output[0])
        self.assertIn("/complete", proxy.paths)
        self.assert_duplicate(IN_PROGRESS)


class ResultTooLarge(SidecarTest):
    def test_duplicate_is_told_that_the_job_is_done(self) -> None:
        self.through({"/acquire": [b'{"status": "completed", "result_omitted": true, "completed_at": 1}']})
        with self.assertLogs():
            self.assertEqual(self.launch(), {"statusCode": 200, "body": '{"status": "completed"}'})
        self.assertEqual(self.runs, [])


class Proxy(http.server.ThreadingHTTPServer):
    """Stands before the sidecar and misbehaves as told, per path and in turn: "drop" (the answer), an answer, a status."""

    daemon_threads = True

    def __init__(self, port: int, script: dict[str, list[Any]]) -> None:
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        self.port, self.script = port, script
        self.paths: list[str] = []

    def __enter__(self) -> Proxy:
        threading.Thread(target=self.serve_forever, args=(0.02,)).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: Any) -> None:
        """A connection that the other side broke is part of the test."""


class ProxyHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def do_GET(self) -> None:
        self.answer(*self.forward(b""))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.append(self.path)
        turns = self.server.script.get(self.path)
        act = turns.pop(0) if turns else None
        if isinstance(act, int):
            self.answer(act, b'{"code": "store_unavailable", "detail": "as told"}')
        elif isinstance(act, bytes):
            self.answer(200, act)
        else:
            status, answer = self.forward(body)
            if act == "drop":
                self.close_connection = True
            else:
                self.answer(status, answer)

    def forward(self, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        try:
            names = ("Content-Type", "X-Idempotency-Auth")
            headers = {name: self.headers[name] for name in names if name in self.headers}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


# --- What the README shows --------------------------------------------------------------------------------------------


class Readme(SidecarTest):
    """The records in the README are what /record gives, but for times and ids."""

    def assert_shown(self, name: str) -> None:
        self.assertEqual(shape(self.record()), shape(readme_block(f"record: {name}")))

    def test_running(self) -> None:
        self.launch(do=lambda: self.assert_shown("running"))

    def test_success(self) -> None:
        self.launch()
        self.assert_shown("success")

    def test_duplicate_changes_nothing(self) -> None:
        self.launch()
        with self.assertLogs(app.logger):
            self.launch()
        self.assert_shown("success")

    def test_error(self) -> None:
        self.fail_once()
        self.assert_shown("error")

    def test_event(self) -> None:
        self.assertEqual(readme_block("event"), demo.EVENT)


def readme_block(name: str) -> Any:
    text = (HERE / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- {name} -->\s*```json\n(.*?)```", text, re.DOTALL)
    assert found, f"README.md has no block {name}"
    return json.loads(found.group(1))


VARYING = {"expiration", "in_progress_expiration", "fence", "request_id", "created_at", "updated_at", "at"}


def shape(value: Any) -> Any:
    """A record with the kind of each time and id instead of its value."""
    if isinstance(value, dict):
        return {name: kind(v) if name in VARYING else shape(v) for name, v in value.items()}
    if isinstance(value, list):
        return [shape(v) for v in value]
    return value


def kind(value: Any) -> str:
    return re.sub(r"[0-9a-f]", "0", value) if isinstance(value, str) else f"{type(value).__name__} of {len(str(value))}"


# --- The demo ---------------------------------------------------------------------------------------------------------


class Demo(unittest.TestCase):
    """The demo against the real sidecar, and against false ones that it has to see through."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.temp = self.folder / "temp"
        self.temp.mkdir()

    def start(self, binary: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(HERE / "demo.py"), binary], env={**os.environ, "TMPDIR": str(self.temp)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8",
        )

    def run_demo(self, binary: str) -> tuple[int, str]:
        process = self.start(binary)
        try:
            printed, _ = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
        self.assertEqual(list(self.temp.iterdir()), [])
        return process.returncode, printed

    def fake(self, outcome: str) -> str:
        """A program that answers every acquire alike."""
        path = self.folder / "fake"
        path.write_text(f"#!{sys.executable}\n" + textwrap.dedent(f"""
            import http.server, json, os, pathlib
            pathlib.Path({str(self.folder / "pid")!r}).write_text(str(os.getpid()))
            class Handler(http.server.BaseHTTPRequestHandler):
                def do_GET(self): self.answer(404, {{"code": "not_found"}})
                def do_POST(self):
                    self.rfile.read(int(self.headers["Content-Length"]))
                    self.answer(200, {{"status": {outcome!r}, "token": "token", "fence": 1}})
                def answer(self, status, body):
                    self.send_response(status)
                    self.end_headers()
                    self.wfile.write(json.dumps(body).encode())
                def log_message(self, *_): pass
            http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["IDEMPOTENCY_PORT"])), Handler).serve_forever()
        """))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    def assert_fake_ended(self) -> None:
        with self.assertRaises(ProcessLookupError):
            os.kill(int((self.folder / "pid").read_text()), 0)

    def test_real_sidecar(self) -> None:
        if not os.access(BINARY, os.X_OK) and os.environ.get("CI") != "true":
            self.skipTest(f"{BINARY} is missing")
        code, printed = self.run_demo(BINARY)
        self.assertEqual(code, 0, printed)
        self.assertIn("All as promised.", printed)

    def test_work_that_runs_twice_is_seen(self) -> None:
        code, printed = self.run_demo(self.fake("acquired"))
        self.assertEqual(code, 1, printed)
        self.assertIn("job 12345: the work ran twice, not once", printed)
        self.assertIn("job 12346: the work ran 5 times, not once", printed)
        self.assert_fake_ended()

    def test_work_that_never_runs_is_seen(self) -> None:
        code, printed = self.run_demo(self.fake("in_progress"))
        self.assertEqual(code, 1, printed)
        self.assertIn("job 12345: the work ran 0 times, not once", printed)

    def test_what_is_no_sidecar(self) -> None:
        for binary in (str(self.folder / "absent"), "/bin/false"):
            code, printed = self.run_demo(binary)
            self.assertEqual(code, 1, printed)

    def test_stopped_half_way(self) -> None:
        process = self.start(self.fake("acquired"))
        try:
            assert process.stdout
            while "12346" not in process.stdout.readline():
                pass
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
        finally:
            process.kill()
            process.wait()
        self.assertEqual(process.returncode, 143)
        self.assert_fake_ended()
        self.assertEqual(list(self.temp.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
