"""Who the tenant is, and what it may use."""

from __future__ import annotations

import hashlib
import logging
import tomllib
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypedDict, cast

from aws_durable_execution_sdk_python.types import DurableExecutionArn

from workflow.limits import require_items as require_item_count
from workflow.models import TENANT_ID, WorkflowRequest
from workflow.settings import Settings


class TenantRefusedError(Exception):
    """The tenant may not do this, or it is not clear which tenant it is."""


class Limits(TypedDict):
    """What a tenant may use; the keys are those of ``tiers.toml``."""

    items_per_execution: int
    #% if cookiecutter.fan_out == "yes"
    fan_out_width: int
    #% endif
    map_concurrency: int
    callback_timeout_minutes: int
    running_executions: int


TIERS: dict[str, Limits] = tomllib.loads(
    files("workflow").joinpath("tiers.toml").read_text(encoding="utf-8")
)


@dataclass(frozen=True)
class Profile:
    """A tenant's row in the registry."""

    tenant_id: str
    status: str
    tier: str
    overrides: Mapping[str, int]

    def require_active(self) -> Profile:
        """Return the profile itself.

        Raises:
            TenantRefusedError: the tenant is suspended.
        """
        if self.status != "ACTIVE":
            raise TenantRefusedError(f"tenant {self.tenant_id} is {self.status.lower()}")
        return self

    def limits(self) -> Limits:
        """The numbers of the tier, with the tenant's own in their place.

        Raises:
            TenantRefusedError: the tier is not in ``tiers.toml``; or one of the tenant's own is no
                limit, or less than 1, which would mean none.
        """
        if self.tier not in TIERS:
            raise TenantRefusedError(
                f"tenant {self.tenant_id} has the tier {self.tier!r}, expected {', '.join(TIERS)}"
            )
        limits = dict(TIERS[self.tier])
        for name, value in self.overrides.items():
            if name not in limits or value < 1:
                raise TenantRefusedError(
                    f"tenant {self.tenant_id} has the override {name}={value}, "
                    f"expected 1 or more for one of {', '.join(limits)}"
                )
        return cast("Limits", limits | dict(self.overrides))


def narrow(settings: Settings, limits: Limits) -> Settings:
    """The stack's settings, lowered to what the tenant may use; never raised."""
    narrowed = settings.copy()
    narrowed["map_max_concurrency"] = min(
        settings["map_max_concurrency"], limits["map_concurrency"]
    )
    #% if cookiecutter.fan_out == "yes"
    narrowed["fan_out_width"] = min(settings["fan_out_width"], limits["fan_out_width"])
    #% endif
    narrowed["callback_timeout"] = min(
        settings["callback_timeout"], limits["callback_timeout_minutes"] * 60
    )
    return narrowed


def require_items(count: int, limits: Limits) -> None:
    """Refuse more items than the tenant may have processed in one execution.

    Raises:
        InvalidInputError: too many items.
    """
    most = limits["items_per_execution"]
    require_item_count(count, most, "more than the tenant's tier allows")


def execution_name(tenant_id: str, workflow: str, key: str) -> str:
    """The name of an execution: the same request has the same one, two tenants never do.

    A tenant id holds no underscore, so no tenant's names begin with another's id.

    >>> execution_name("acme", "wf-1", "k")
    'acme_4575b6a405508d05c16ca32527931409'
    """
    text = "|".join((tenant_id, workflow, key))
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{tenant_id}_{digest[:32]}"


def execution_name_of(execution_arn: str) -> str | None:
    """The name in the ARN of an execution, or None if it is no such ARN."""
    arn = DurableExecutionArn.from_arn(execution_arn)
    return arn.execution_name if arn else None


def tenant_of_name(name: str | None) -> str | None:
    """The tenant in the name of an execution, or None if the starter has not made it."""
    tenant, separator, digest = (name or "").partition("_")
    return tenant if separator and len(digest) == 32 else None


def require_one_tenant(sources: Mapping[str, Any]) -> str:
    """Return the tenant that every source names.

    Args:
        sources: what names the tenant, and the tenant it names; None if it names none.

    Raises:
        TenantRefusedError: one source names no tenant, or a malformed one, or two disagree. The
            message names sources and no tenants.
    """
    for source, tenant in sources.items():
        if tenant is None:
            raise TenantRefusedError(f"the {source} names no tenant")
        if not isinstance(tenant, str) or not TENANT_ID.fullmatch(tenant):
            raise TenantRefusedError(f"the {source} names a malformed tenant")
    first, *others = sources.items()
    for source, tenant in others:
        if tenant != first[1]:
            raise TenantRefusedError(f"the {first[0]} and the {source} name different tenants")
    return str(first[1])


def require_served(tenant_id: Any, stack_tenant: str) -> str:
    """Return the tenant of a request, which in a silo has to be the stack's own.

    Raises:
        TenantRefusedError: no tenant, a malformed one, or another stack's.
    """
    sources = {"event": tenant_id, "stack": stack_tenant}
    return require_one_tenant(sources if stack_tenant else {"event": tenant_id})


@dataclass(frozen=True)
class Stack:
    """How the stack keeps its tenants apart; fixed when a version of the function starts."""

    tenancy: str
    tenant_id: str | None = None
    name_of: Callable[[str], str | None] = execution_name_of

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Stack:
        """Read what ``template.yaml`` sets."""
        return cls(environment.get("TENANCY", ""), environment.get("TENANT_ID") or None)

    def require_tenant(
        self, request: WorkflowRequest, execution_arn: str | None, invocation_tenant: str | None
    ) -> str:
        """Return the tenant of an execution, which every source there is has to name.

        Args:
            request: the event.
            execution_arn: of the execution, unless the service has named it.
            invocation_tenant: of the Lambda invocation, where tenants are isolated.

        Raises:
            TenantRefusedError: a source names no tenant, or another one.
        """
        if self.tenancy not in {"pool", "isolated", "silo"}:
            raise TenantRefusedError(f"the environment variable TENANCY is {self.tenancy!r}")
        sources: dict[str, str | None] = {"event": request.tenant_id}
        if execution_arn is not None:
            sources["execution name"] = tenant_of_name(self.name_of(execution_arn))
        if self.tenancy == "isolated":
            sources["invocation"] = invocation_tenant
        if self.tenancy == "silo":
            sources["stack"] = self.tenant_id
        return require_one_tenant(sources)


def tenant_logger(request: WorkflowRequest) -> logging.LoggerAdapter[logging.Logger]:
    """A logger that writes the tenant and the workflow id on every line."""
    return _ExtraLogger(
        logging.getLogger("workflow"),
        {"tenantId": request.tenant_id, "workflowId": request.workflow_id},
    )


class _ExtraLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds its fields to those of the call; the standard adapter would replace them."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, {**kwargs, "extra": {**(kwargs.get("extra") or {}), **(self.extra or {})}}
