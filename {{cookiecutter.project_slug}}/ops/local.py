"""The workflow on this machine: what ``template.yaml`` would deploy, on the SDK's own runner.

There is no starter here that counts, and no table: tenants are those of ``ops/tenants.json``, and
whoever drives an execution is told directly what the approvers are told.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
#% if cookiecutter.fan_out == "yes"
from io import BufferedReader
#% endif
from pathlib import Path
from queue import Empty, SimpleQueue
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
from chassis.model import Definition, TenantRefusedError
from chassis.tenancy.guard import Stack, execution_name
#% if cookiecutter.fan_out == "yes"
from chassis.tenancy.objects import BucketObjects, not_there, prefix_of
#% endif
from chassis.tenancy.profile import Profile
from chassis.tenancy.registry import TablePartition
from chassis.tenancy.stores import Stores
from chassis.wire import JsonObject, parse_json

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
    if isinstance(value, dict) and "Fn::Sub" in value:
        return re.sub(r"\$\{(\w+)\}", lambda match: defaults[match[1]], value["Fn::Sub"])
    return str(value)


def tenants() -> Tenants:
    """The tenants of ``ops/tenants.json``: status, tier and perhaps limits of their own."""
    known: Tenants = parse_json(TENANTS.read_bytes())
    return known


@dataclass(frozen=True)
class Question:
    """What the approvers are told, and the callback that takes their answer."""

    callback_id: str
    message: JsonObject


class LocalPartition(TablePartition):
    """A tenant's rows: its profile, and the approvals that wait; nothing is counted."""

    def __init__(self, known: Tenants, callbacks: dict[str, str], tenant_id: str) -> None:
        """Take all tenants, and where to keep callback ids by their token."""
        self.tenant_id = tenant_id
        self._known = known
        self._callbacks = callbacks

    def profile(self) -> Profile:
        """The tenant's entry."""
        if self.tenant_id not in self._known:
            raise TenantRefusedError(f"tenant {self.tenant_id} is unknown")
        entry = self._known[self.tenant_id]
        return Profile(self.tenant_id, entry["status"], entry["tier"], entry.get("overrides", {}))

    def note_arn(self, execution_arn: str) -> None:
        """No-op: nothing is counted here."""

    #% if cookiecutter.fan_out == "yes"
    def require_running(self, execution_arn: str) -> None:
        """No-op: nothing is counted here."""

    #% endif
    #% if cookiecutter.__invoke
    def put_usage(self, source: str, started_at: str, processed: int, failed: int) -> None:
        """No-op: nobody is sent a bill."""

    #% endif
    def put_approval(
        self, token: str, callback_id: str, execution_arn: str, *, now: int, timeout: int
    ) -> None:
        """Keep the callback id."""
        del execution_arn, now, timeout
        self._callbacks[token] = callback_id


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
                    partition=partial(LocalPartition, known, self._callbacks),
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
        record = partial(meter.handler, partition=partial(LocalPartition, known, self._callbacks))
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
