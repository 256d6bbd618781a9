"""The page as ``make run UI=1`` serves it; ``driver.py`` has the command.

``PROJECT`` in the environment is the folder of a rendered project with its ``.venv``.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

SERVER = Path(__file__).with_name("local_server.py")


class LocalDriver:
    """Speaks to ``local_server.py``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lock = Lock()
        self._tokens: dict[tuple[str, str], str] = {}
        self.url: str = self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def _do(self, what: str, **given: Any) -> Any:
        assert self._process.stdin
        with self._lock:
            self._process.stdin.write(json.dumps({"do": what, **given}) + "\n")
            self._process.stdin.flush()
            return self._answer()

    def tenant(self) -> str:
        name = f"t{secrets.token_hex(8)}"
        self._do("tenant", name=name)
        return name

    def token(self, tenant: str, person: str) -> str:
        if (tenant, person) not in self._tokens:
            token = self._tokens[tenant, person] = secrets.token_urlsafe(24)
            self._do("token", tenant=tenant, person=person, token=token)
        return self._tokens[tenant, person]

    def ask(
        self,
        tenant: str,
        *,
        started_by: str = "ada",
        evidence: dict[str, Any] | None = None,
        workflow_id: str = "order-2026-0042",
        approval: str = "approval",
    ) -> str:
        asked: str = self._do(
            "ask",
            tenant=tenant,
            started_by=started_by,
            evidence={"items": 5} if evidence is None else evidence,
            workflow_id=workflow_id,
            approval=approval,
        )
        return asked

    def ask_many(self, tenant: str, count: int) -> None:
        self._do("ask_many", tenant=tenant, count=count)

    def expire(self, approval_id: str) -> None:
        self._do("expire", approval_id=approval_id)


@pytest.fixture(scope="session")
def driver() -> Iterator[LocalDriver]:
    """A server of its own."""
    project = Path(os.environ["PROJECT"])
    command = [project / ".venv" / "bin" / "python", SERVER]
    with subprocess.Popen(
        command, cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield LocalDriver(process)
        process.terminate()
