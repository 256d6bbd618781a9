"""The workflow on this machine: what ``template.yaml`` would deploy, on the SDK's own runner.

There is no starter here that counts, and no table: tenants are those of ``ops/tenants.json``, and
whoever drives an execution is told directly what the approvers are told.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
#% if cookiecutter.fan_out == "yes"
from io import BufferedReader
#% endif
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from aws_durable_execution_sdk_python.plugin import (
    DurableInstrumentationPlugin,
    InvocationEndInfo,
    InvocationStartInfo,
    InvocationStatus,
)
from aws_durable_execution_sdk_python_testing import (
    DurableFunctionTestResult,
    DurableFunctionTestRunner,
)
#% if cookiecutter.fan_out == "yes"
from aws_durable_execution_sdk_python_testing.invoker import DEFAULT_TEST_FUNCTION_NAME
#% endif
from samtranslator.yaml_helper import yaml_parse

from chassis.durable import durable_handler
#% if cookiecutter.__invoke
from chassis.functions import meter
#% endif
from chassis.model import Approval, Definition, TenantRefusedError
from chassis.tenancy.approvals import Approvals, Asked
from chassis.tenancy.guard import Stack, execution_name
#% if cookiecutter.fan_out == "yes"
from chassis.tenancy.objects import BucketObjects, not_there, prefix_of
#% endif
from chassis.tenancy.profile import Profile
from chassis.tenancy.registry import TablePartition
#% if cookiecutter.front_door == "http_api"
from chassis.tenancy.runs import Runs
#% endif
from chassis.tenancy.stores import Stores
from chassis.wire import JsonObject, parse_json
from ops.stack import HOST

ROOT = Path(__file__).parent.parent
#% if cookiecutter.fan_out == "yes"
OBJECTS = ROOT / ".objects"
#% endif
#% if cookiecutter.__invoke
METER = "meter"
#% endif
TENANTS = Path(__file__).with_name("tenants.json")
A_DAY = 24 * 60 * 60

Tenants = Mapping[str, JsonObject]
Handler = Callable[[Any, Any], Any]
Application = Callable[[Any, Any], Iterable[bytes]]
"""Of WSGI."""


@cache
def template() -> dict[str, Any]:
    """What ``template.yaml`` says, as SAM reads it; do not change it."""
    parsed: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    return parsed


def environment() -> dict[str, str]:
    """The workflow's environment variables, with every parameter at its default.

    What refers to a resource of the stack is empty: there are none on this machine.
    """
    deployed = template()
    defaults = {name: str(spec.get("Default", "")) for name, spec in deployed["Parameters"].items()}
    variables: dict[str, Any] = {
        **deployed["Globals"]["Function"]["Environment"]["Variables"],
        **deployed["Resources"]["WorkflowFunction"]["Properties"]["Environment"]["Variables"],
    }
    #% if cookiecutter.__invoke
    resolved = {name: _resolve(value, defaults) for name, value in variables.items()}
    return {**resolved, "METER_FUNCTION_ARN": METER}


    #% else
    return {name: _resolve(value, defaults) for name, value in variables.items()}


    #% endif
def _resolve(value: Any, defaults: dict[str, str]) -> str:
    if isinstance(value, dict) and "Ref" in value:
        return defaults.get(value["Ref"], "")
    if isinstance(value, dict) and "Fn::GetAtt" in value:
        return ""
    #% if cookiecutter.front_door == "http_api"
    if isinstance(value, dict) and "Fn::If" in value:  # by default, no condition holds
        return _resolve(value["Fn::If"][2], defaults)
    #% endif
    if isinstance(value, dict) and "Fn::Sub" in value:
        return re.sub(r"\$\{(\w+)\}", lambda match: defaults[match[1]], value["Fn::Sub"])
    return str(value)


def tenants() -> Tenants:
    """The tenants of ``ops/tenants.json``: status, tier and perhaps limits of their own."""
    known: Tenants = parse_json(TENANTS.read_bytes())
    return known


@contextmanager
def aws_server() -> Iterator[str]:
    """The other services that functions call, on this machine: moto; yields its address.

    It takes one request at a time, which makes its transactions atomic.
    """
    # Only who needs moto should take the time to import it.
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = for_programs(DomainDispatcherApplication(create_backend_app))
    server = make_server(HOST, 0, application)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()


def for_programs(application: Application) -> Application:
    """Refuse what comes from a browser, in which any page may call a port of this machine."""

    def guarded(environ: Any, start_response: Any) -> Iterable[bytes]:
        is_ours = environ.get("HTTP_HOST", "").partition(":")[0] in {HOST, "localhost"}
        if is_ours and not {"HTTP_ORIGIN", "HTTP_SEC_FETCH_SITE"} & environ.keys():
            return application(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"This is not for browsers."]

    return guarded


def create_table(client: Any, name: str) -> None:
    """Make the table of the template."""
    properties = template()["Resources"]["TenantTable"]["Properties"]
    wanted = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    client.create_table(TableName=name, **{name: properties[name] for name in wanted})


@dataclass(frozen=True)
class Question:
    """What the approvers are told, and the callback that takes their answer."""

    callback_id: str
    message: JsonObject


class LocalPartition(TablePartition):
    """A tenant's profile; nothing is counted."""

    def __init__(self, known: Tenants, tenant_id: str) -> None:
        """Take all tenants."""
        self.tenant_id = tenant_id
        self._known = known

    def profile(self) -> Profile:
        """The tenant's entry."""
        if self.tenant_id not in self._known:
            raise TenantRefusedError(f"tenant {self.tenant_id} is unknown")
        entry = self._known[self.tenant_id]
        return Profile(self.tenant_id, entry["status"], entry["tier"], entry.get("overrides", {}))

    #% if cookiecutter.fan_out == "yes"
    def require_running(self, execution_arn: str) -> None:
        """No-op: nothing is counted here."""

    #% endif
    #% if cookiecutter.__invoke
    def put_usage(self, source: str, started_at: str, processed: int, failed: int) -> None:
        """No-op: nobody is sent a bill."""

    #% endif
    def note_arn(self, execution_arn: str) -> str | None:
        """No-op: nothing is counted here."""
        del execution_arn
        return None


class LocalApprovals(Approvals):
    """Callback ids by their token; there is no record of a decision here."""

    def __init__(self, callbacks: dict[str, str], tenant_id: str) -> None:
        """Take where they are kept."""
        self.tenant_id = tenant_id
        self._callbacks = callbacks

    def ask(self, asked: Asked, callback_id: str, token: str, kept_days: int) -> bool:
        """Keep the callback id."""
        del asked, kept_days
        self._callbacks[token] = callback_id
        return True

    def close(self, approval: str, answer: Approval, identified_by: str | None, now: float) -> bool:
        """No-op."""
        del approval, answer, identified_by, now
        return True


#% if cookiecutter.front_door == "http_api"
class LocalRuns(Runs):
    """Nobody looks at them here."""

    def put_result(self, execution_arn: str, output: JsonObject) -> None:
        """No-op."""

    def _note(self, execution_arn: str, values: Any, add: Any = None) -> None:
        """No-op."""


#% endif
#% if cookiecutter.fan_out == "yes"
class FileObjects(BucketObjects):
    """A tenant's objects as files."""

    def __init__(self, root: Path, tenant_id: str) -> None:
        """Take the folder of all tenants."""
        self._folder = root / prefix_of(tenant_id)

    def size(self, ref: str) -> int:
        """The bytes of a file."""
        return self._path(ref).stat().st_size

    def open(self, ref: str, start: int = 0, end: int | None = None) -> BufferedReader:
        """The bytes of a file from ``start`` on."""
        del end  # nobody reads further
        file = self._path(ref).open("rb")
        file.seek(start)
        return file

    def put(self, ref: str, lines: Iterable[bytes]) -> None:
        """Write a file, or write it again."""
        path = self._folder / ref
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(lines))

    def _path(self, ref: str) -> Path:
        path = self._folder / ref
        if not path.is_file():
            raise not_there(ref)
        return path


#% endif
class LocalExecution(DurableInstrumentationPlugin):
    """One execution on the SDK's runner; it tells what the approvers are asked, and the end."""

    def __init__(
        self,
        definition: Definition[Any],
        run: Callable[[Any], JsonObject],
        event: Any,
        *,
        known: Tenants | None = None,
        #% if cookiecutter.fan_out == "yes"
        objects: Path | None = None,
        #% endif
        stores: Stores | None = None,
        stack: Stack | None = None,
        wrap: Callable[[Handler], Handler] = lambda handler: handler,
        plugins: Iterable[Any] = (),
        **options: Any,
    ) -> None:
        """Start it, with the settings that the environment of this process has.

        Args:
            definition: of the workflow.
            run: its phases.
            event: the input.
            known: the tenants, if they are not those of ``ops/tenants.json``.
            #% if cookiecutter.fan_out == "yes"
            objects: the folder of the tenants' objects, if it is not ``.objects``.
            #% endif
            stores: others than those of this machine.
            stack: another than the one that AWS would see.
            wrap: makes the durable handler that is run of the one of the workflow.
            plugins: of the durable SDK.
            options: of the runner.
        """
        self.invocations = 0
        self.messages: list[tuple[str, JsonObject]] = []
        self._questions: SimpleQueue[Question | None] = SimpleQueue()
        self._callbacks: dict[str, str] = {}
        self._asked: set[str] = set()
        known = tenants() if known is None else known
        tenant_id = event.get("tenantId") if isinstance(event, dict) else None
        name = execution_name(str(tenant_id), "local", "run")
        handler = wrap(
            durable_handler(
                definition,
                run,
                # As AWS would see an execution that the starter has named.
                stack=stack or Stack(os.environ["TENANCY"], str(tenant_id), lambda _: name),
                stores=stores
                or Stores(
                    partition=partial(LocalPartition, known),
                    approvals=partial(LocalApprovals, self._callbacks),
                    #% if cookiecutter.front_door == "http_api"
                    runs=lambda tenant_id: LocalRuns(tenant_id, None, ""),
                    #% endif
                    #% if cookiecutter.fan_out == "yes"
                    objects=partial(FileObjects, objects or OBJECTS),
                    #% endif
                    notify=self.notify,
                ),
                plugins=[self, *plugins],
            )
        )
        self.runner = DurableFunctionTestRunner(handler, **options)
        #% if cookiecutter.__invoke
        record = partial(meter.handler, partition=partial(LocalPartition, known))
        self.runner.register_function(METER, record)
        #% endif
        #% if cookiecutter.fan_out == "yes"
        self.runner.register_durable_function(DEFAULT_TEST_FUNCTION_NAME, handler)
        #% endif
        self.arn: str = ""
        self.arn = self.runner.run_async(json.dumps(event), tenant_id=tenant_id)

    def create_plugin(self, info: InvocationStartInfo, /) -> DurableInstrumentationPlugin:
        """Called by the SDK when an invocation starts."""
        #% if cookiecutter.fan_out == "yes"
        self.arn = self.arn or info.execution_arn or ""
        if info.execution_arn != self.arn:
            return DurableInstrumentationPlugin()  # of a chunk
        #% else
        del info
        #% endif
        self.invocations += 1
        return self

    def on_invocation_end(self, info: InvocationEndInfo) -> None:
        """Whoever waits for a question waits in vain once the execution is over."""
        if info.status in {InvocationStatus.SUCCEEDED, InvocationStatus.FAILED}:
            self._questions.put(None)

    def notify(self, topic_arn: str, subject: str, message: JsonObject) -> None:
        """Keep the message; the approvers' is a question."""
        del subject
        self.messages.append((topic_arn, message))
        if "token" in message:
            self._questions.put(Question(self._callbacks[message["token"]], message))

    def next_question(self, timeout: float = A_DAY) -> Question | None:
        """What the approvers are asked next; None once the execution is over.

        Raises:
            TimeoutError: neither happened in so many seconds.
        """
        while True:
            try:
                question = self._questions.get(timeout=timeout)
            except Empty:
                raise TimeoutError(f"nobody was asked within {timeout} s") from None
            if question is None:
                self._questions.put(None)
                return None
            if question.callback_id not in self._asked:  # a step may ask twice
                self._asked.add(question.callback_id)
                return question

    def answer(self, question: Question, answer: JsonObject) -> None:
        """Answer, as the approver of the stack would."""
        self.runner.send_callback_success(question.callback_id, json.dumps(answer).encode())

    def result(self, timeout: int = A_DAY) -> DurableFunctionTestResult:
        """Wait for the end."""
        return self.runner.wait_for_result(self.arn, timeout=timeout)

    def history(self) -> Iterator[JsonObject]:
        """The events of its history, as AWS has them, with their payloads."""
        marker = None
        while True:  # the runner itself tells the first 100 only
            page = self.runner._executor.get_execution_history(
                self.arn, include_execution_data=True, marker=marker
            )
            yield from (event.to_dict() for event in page.events)
            marker = page.next_marker
            if not marker:
                return

    def __enter__(self) -> LocalExecution:
        return self

    def __exit__(self, *_: object) -> None:
        self.runner.close()  # type: ignore[no-untyped-call]
