"""Which tenant it is: every source has to name the same one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chassis.model import TENANT_ID, TenantRefusedError

_EXECUTION_ARN = re.compile(
    r"arn:[^:]*:lambda:[^:]*:[^:]*:function:[^:/]+:[^:/]+/durable-execution/([^/]+)/[^/]+"
)


def execution_name(tenant_id: str, workflow: str, key: str) -> str:
    """The name of an execution: the same request has the same one, two tenants never do.

    A tenant id has no underscore in it, so no tenant's names begin with another's id.

    >>> execution_name("acme", "wf-1", "k")
    'acme_4575b6a405508d05c16ca32527931409'
    """
    text = "|".join((tenant_id, workflow, key))
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{tenant_id}_{digest[:32]}"


def execution_name_of(execution_arn: str) -> str | None:
    """The name in the ARN of an execution, or None if it is not such an ARN."""
    match = _EXECUTION_ARN.fullmatch(execution_arn)
    return match[1] if match else None


def tenant_of_name(name: str | None) -> str | None:
    """The tenant in the name of an execution, or None if the starter did not make the name."""
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
        self, tenant_id: str, execution_arn: str | None, invocation_tenant: str | None
    ) -> str:
        """Return the tenant of an execution, which every source there is has to name.

        Args:
            tenant_id: of the event.
            execution_arn: of the execution, unless the service has named it.
            invocation_tenant: of the Lambda invocation, where tenants are isolated.

        Raises:
            TenantRefusedError: a source names no tenant, or another one.
        """
        if self.tenancy not in {"pool", "isolated", "silo"}:
            raise TenantRefusedError(f"the environment variable TENANCY is {self.tenancy!r}")
        sources: dict[str, str | None] = {"event": tenant_id}
        if execution_arn is not None:
            sources["execution name"] = tenant_of_name(self.name_of(execution_arn))
        if self.tenancy == "isolated":
            sources["invocation"] = invocation_tenant
        if self.tenancy == "silo":
            sources["stack"] = self.tenant_id
        return require_one_tenant(sources)
