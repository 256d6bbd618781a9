"""Who the tenant is, and what carries its name."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from workflow.models import WorkflowRequest


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
