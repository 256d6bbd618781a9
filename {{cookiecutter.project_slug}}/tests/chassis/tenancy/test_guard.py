"""Who the tenant is: every source has to name the same one, before anything happens."""

from __future__ import annotations

import ast
import dataclasses
import string
from pathlib import Path
from typing import Any

import pytest
#% if cookiecutter.__invoke or cookiecutter.fan_out == "yes"
from aws_durable_execution_sdk_python import DurableContext, durable_execution
from aws_durable_execution_sdk_python_testing import DurableFunctionTestRunner
#% endif
from hypothesis import given
from hypothesis import strategies as st

#% if cookiecutter.__invoke or cookiecutter.fan_out == "yes"
from chassis.durable.invocation import invoke
#% endif
from chassis.model import TenantRefusedError
from chassis.tenancy import guard
from chassis.tenancy.guard import Stack, execution_name, require_one_tenant, tenant_of_name
from chassis.tenancy.stores import AWS
from ops.local import Handler
from tests.chassis.aws import Add
from tests.execution import Start, make_event

ACME = execution_name("acme", "wf-1", "key")
GLOBEX = execution_name("globex", "wf-1", "key")
MALFORMED = ["../x", "ACME", "acme ", "аcme", "a" * 300, "", 7, ["acme"], "ac", "acme\n"]  # noqa: RUF001


@pytest.mark.parametrize("value", MALFORMED)
def test_a_malformed_tenant_is_refused(value: Any) -> None:
    with pytest.raises(TenantRefusedError, match="the event names a malformed tenant"):
        require_one_tenant({"event": value, "execution name": "acme"})


def test_a_missing_tenant_is_refused() -> None:
    with pytest.raises(TenantRefusedError, match="the execution name names no tenant"):
        require_one_tenant({"event": "acme", "execution name": None})


def test_sources_that_disagree_are_named_and_the_tenants_are_not() -> None:
    with pytest.raises(TenantRefusedError) as error:
        require_one_tenant({"event": "acme", "execution name": "globex"})

    assert str(error.value) == "the event and the execution name name different tenants"


@pytest.mark.parametrize(
    ("stack", "invocation", "refusal"),
    [
        (Stack("pool", None, lambda _: ACME), None, None),
        (Stack("pool", None, lambda _: GLOBEX), None, "the event and the execution name"),
        (Stack("pool", None, lambda _: None), None, "the execution name names no tenant"),
        (Stack("pool", None, lambda _: "acme_short"), None, "the execution name names no tenant"),
        (Stack("isolated", None, lambda _: ACME), "acme", None),
        (Stack("isolated", None, lambda _: ACME), "globex", "the event and the invocation"),
        (Stack("isolated", None, lambda _: ACME), None, "the invocation names no tenant"),
        (Stack("silo", "acme", lambda _: ACME), None, None),
        (Stack("silo", "globex", lambda _: ACME), None, "the event and the stack"),
        (Stack("silo", None, lambda _: ACME), None, "the stack names no tenant"),
        (Stack("", None, lambda _: ACME), None, "TENANCY is ''"),
    ],
)
def test_nothing_happens_for_a_tenant_that_is_in_doubt(
    start: Start, stack: Stack, invocation: str | None, refusal: str | None
) -> None:
    def invoked_for(handler: Handler) -> Handler:
        return lambda event, context: handler(
            event, dataclasses.replace(context, tenant_id=invocation)
        )

    execution = start(make_event("a"), stack=stack, wrap=invoked_for)

    if refusal is None:
        assert execution.question.message["tenantId"] == "acme"
    else:
        assert refusal in execution.error()[1]
        assert execution.ended.get_all_operations() == []


@pytest.mark.parametrize(
    ("tenant_id", "message"),
    [
        ("nobody", "tenant nobody is unknown"),
        ("globex", "tenant globex is suspended"),
    ],
)
def test_the_first_step_refuses_a_tenant_that_may_not(
    start: Start, tenant_id: str, message: str
) -> None:
    execution = start(make_event("a") | {"tenantId": tenant_id})

    assert message in execution.error()[1]
    assert execution.names() == ["prepare-work"]
    assert execution.ended.get_step("prepare-work").attempt == 1


def test_the_first_step_refuses_an_execution_that_nobody_has_counted(
    add: Add, start: Start
) -> None:
    add("acme")

    execution = start(make_event("a"), stores=AWS)

    assert "not counted as running" in execution.error()[1]
    assert execution.names() == ["prepare-work"]


TENANTS = st.text(string.ascii_lowercase + string.digits, min_size=3, max_size=24)


@given(TENANTS, TENANTS, st.text(max_size=20), st.text(max_size=20))
def test_no_tenant_has_the_name_or_the_prefix_of_anothers_execution(
    one: str, two: str, workflow_id: str, key: str
) -> None:
    name = execution_name(one, workflow_id, key)

    assert name == execution_name(one, workflow_id, key)
    assert len(name) <= 64
    assert tenant_of_name(name) == one
    if one != two:
        assert name != execution_name(two, workflow_id, key)
        assert not name.startswith(f"{two}_")


def test_the_name_is_read_from_the_arn() -> None:
    arn = f"arn:aws:lambda:eu-west-1:123456789012:function:f:3/durable-execution/{ACME}/id"
    stack = Stack.from_environment({"TENANCY": "pool", "TENANT_ID": ""})

    assert stack.require_tenant("acme", arn, None) == "acme"
    with pytest.raises(TenantRefusedError):
        stack.require_tenant("globex", arn, None)


#% if cookiecutter.__invoke or cookiecutter.fan_out == "yes"
@pytest.mark.parametrize("tenant_id", [None, "acme"])
def test_an_invoke_carries_the_tenant(tenant_id: str | None) -> None:
    seen: list[Any] = []

    def child(event: Any, context: Any) -> str:
        seen.append((event["tenantId"], context.tenant_id))
        return "done"

    def parent(event: Any, context: DurableContext) -> Any:
        return invoke(context, "acme", "child", event, "call-child")

    with DurableFunctionTestRunner(durable_execution(parent), poll_interval=0.005) as runner:
        runner.register_function("child", child)
        result = runner.run('{"tenantId": "forged"}', tenant_id=tenant_id)

    assert result.result == '"done"'
    assert seen == [("acme", tenant_id)]


#% endif
def test_nothing_of_the_chassis_invokes_without_the_tenant() -> None:
    callers = {
        path.name
        for path in Path(guard.__file__).parents[1].rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node).endswith("context.invoke")
    }

    #% if cookiecutter.__invoke or cookiecutter.fan_out == "yes"
    assert callers == {"invocation.py"}
    #% else
    assert callers == set()
    #% endif
