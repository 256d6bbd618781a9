"""What the tests of the page need of a server beside its API.

They run in the environment of ``requirements-browser.lock`` against any server that has a driver,
``PYTHONPATH=tests/browser pytest tests/browser -p local_driver``: a module with a fixture
``driver``, of the scope ``session``. ``--shots FOLDER`` takes a picture of each view.
"""

from __future__ import annotations

from typing import Any, Protocol


class Driver(Protocol):
    """A running server of ``docs/openapi.yaml`` with the page.

    In its config ``signIn`` is null, and ``example`` an input with the workflowId ``an-example``.

    Attributes:
        url: of the page, with ``/`` at its end.
    """

    url: str

    def tenant(self) -> str:
        """A tenant that has nothing yet."""

    def token(self, tenant: str, person: str) -> str:
        """A token of a person, any text, who may start, see and answer everything of the tenant."""

    def ask(
        self,
        tenant: str,
        *,
        started_by: str = "ada",
        evidence: dict[str, Any] | None = None,
        workflow_id: str = "order-2026-0042",
        approval: str = "approval",
    ) -> str:
        """Start a workflow that asks for an approval, for an hour, and return the approval's id.

        Without evidence it shows ``{"items": 5}``.
        """

    def ask_many(self, tenant: str, count: int) -> None:
        """Have that many approvals pending: of order-1, the oldest, and on.

        No workflow has to wait for their answers.
        """

    def expire(self, approval_id: str) -> None:
        """Let its time be over, and its workflow know."""
