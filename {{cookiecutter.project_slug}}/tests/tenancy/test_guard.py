"""Who the tenant is: every source has to name the same one, before anything happens."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aws_durable_execution_sdk_python import DurableContext, durable_execution
from aws_durable_execution_sdk_python_testing import DurableFunctionTestRunner
from hypothesis import given
from hypothesis import strategies as st

from ops import local
from tests.execution import Start, make_event
from tests.tenancy.conftest import TABLE, TENANT_ROLE
from workflow import tenants
from workflow.handler import run_workflow
#% if cookiecutter.__invoke or cookiecutter.fan_out == "yes"
from workflow.invocation import invoke
#% endif
from workflow.models import parse_request
from workflow.registry import TablePartition
from workflow.settings import load
from workflow.tenants import Stack, TenantRefusedError, execution_name, require_one_tenant

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
    def handler(event: Any, context: DurableContext) -> Any:
        return run_workflow(event, context, stack)

    start(make_event("a")).callback_id()  # sets the environment
    with DurableFunctionTestRunner(durable_execution(handler), poll_interval=0.005) as runner:
        arn = runner.run_async(
            '{"workflowId": "wf-1", "tenantId": "acme", "inputData": {"items": []}}',
            tenant_id=invocation,
        )
        if refusal is None:
            assert runner.wait_for_callback(arn, name="approval create callback id")
            return
        result = runner.wait_for_result(arn)

    assert result.error is not None
    assert refusal in (result.error.message or "")
    assert result.get_all_operations() == []


@pytest.mark.parametrize(
    ("tenant_id", "message"),
    [("nobody", "tenant nobody is unknown"), ("globex", "tenant globex is suspended")],
)
def test_the_first_step_refuses_a_tenant_that_may_not(
    start: Start, tenant_id: str, message: str
) -> None:
    execution = start(make_event("a") | {"tenantId": tenant_id})

    assert execution.error()[1] == message
    assert [operation.name for operation in execution.result.operations] == ["prepare-work"]
    assert execution.result.get_step("prepare-work").attempt == 1


def test_the_first_step_refuses_an_execution_that_nobody_has_counted(
    add: Callable[..., TablePartition], start: Start
) -> None:
    add("acme")
    execution = start(
        make_event("a"), REGISTRY_FILE="", TENANT_TABLE=TABLE, TENANT_ROLE_ARN=TENANT_ROLE
    )

    assert "not counted as running" in execution.error()[1]
    assert [operation.name for operation in execution.result.operations] == ["prepare-work"]


def test_the_first_step_refuses_more_items_than_the_tier_allows(start: Start) -> None:
    execution = start(make_event(*range(101)) | {"tenantId": "demo"})

    assert "more than the tenant's tier allows: send at most 100 items" in execution.error()[1]


def test_limits_only_narrow_what_the_stack_allows() -> None:
    settings = load(local.environment() | {"MAP_MAX_CONCURRENCY": "5", "CALLBACK_TIMEOUT": "90m"})

    free = tenants.narrow(settings, tenants.TIERS["free"])
    premium = tenants.narrow(settings, tenants.TIERS["premium"])

    assert (free["map_max_concurrency"], free["callback_timeout"]) == (2, 3_600)
    #% if cookiecutter.fan_out == "yes"
    assert (free["fan_out_width"], premium["fan_out_width"]) == (1, 20)
    #% endif
    assert (premium["map_max_concurrency"], premium["callback_timeout"]) == (5, 5_400)


TENANTS = st.from_regex(r"[a-z0-9]{3,24}", fullmatch=True)


@given(TENANTS, TENANTS, st.text(max_size=20), st.text(max_size=20))
def test_no_tenant_has_the_name_or_the_prefix_of_anothers_execution(
    one: str, two: str, workflow_id: str, key: str
) -> None:
    name = execution_name(one, workflow_id, key)

    assert name == execution_name(one, workflow_id, key)
    assert len(name) <= 64
    assert tenants.tenant_of_name(name) == one
    if one != two:
        assert name != execution_name(two, workflow_id, key)
        assert not name.startswith(f"{two}_")


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
def test_nothing_invokes_without_the_tenant() -> None:
    """``invocation.py``, where there is one, is the only place that calls ``context.invoke``."""
    for path in Path(tenants.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "context.invoke":
                assert path.name == "invocation.py"


def test_the_name_is_read_from_the_arn() -> None:
    arn = f"arn:aws:lambda:eu-west-1:123456789012:function:f:3/durable-execution/{ACME}/id"

    stack = Stack.from_environment({"TENANCY": "pool", "TENANT_ID": ""})

    assert stack.require_tenant(parse_request(make_event()), arn, None) == "acme"
