"""One line of log for each request to a function of the stack: who asked, and what came of it."""

from __future__ import annotations

import logging
from typing import Any

from chassis.model import TENANT_ID


def log_request(outcome: str, event: Any, **known: Any) -> None:
    """Write the line.

    Args:
        outcome: for example ``"start refused"``.
        event: of which only the tenant id is written, if it is one.
        known: what else is written; no token, no callback id, nothing of an answer.
    """
    tenant_id = event.get("tenantId") if isinstance(event, dict) else None
    if not isinstance(tenant_id, str) or not TENANT_ID.fullmatch(tenant_id):
        tenant_id = None
    logging.getLogger("workflow").info(outcome, extra={"tenantId": tenant_id, **known})
