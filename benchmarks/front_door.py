"""Clients that start workflows and approve each other's over HTTP; what came of it as JSON.

``load.py --http`` runs this in a rendered project, with its Python. Workflow, API, reconciler and
table are those of ``make run UI=1``. The clients of a tenant choose from the same list, so several
send an answer to one approval. This has to hold:

- what was said to have started has succeeded, and is all that is listed;
- of the answers to an approval one was accepted, and the approval and the workflow name its sender;
- in the end nothing is counted as running, and no approval is open.
"""

from __future__ import annotations

import json
import logging
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import moto_table
import urllib3
from ops import emulator, page, tenants
from workflow import workflow
from workflow.callback_helper import parse_answer
from workflow.definition import DEFINITION

TENANTS = [f"tenant{number}" for number in range(5)]
LIMITS = {"running_executions": 100_000, "starts_per_minute": 100_000}
EXPECTED = {"POST workflows 202", "GET approvals 200", "POST approvals 200", "POST approvals 409"}
PATIENCE_SECONDS = 120
"""Of a client that finds nothing to answer."""


class Client:
    """One client, who is somebody of a tenant."""

    http = urllib3.PoolManager(maxsize=100, timeout=300, retries=False)
    accepted: list[tuple[str, str]] = []  # noqa: RUF012 - of all clients: approval, and who

    def __init__(self, address: str, number: int, seed: int) -> None:
        self.address = address
        self.name = f"client{number}"
        self.tenant_id = TENANTS[number % len(TENANTS)]
        self.random = random.Random(seed * 1_000 + number)
        self.replies = Counter[str]()
        self.started: list[str] = []

    def call(self, path: str, body: Any = None) -> tuple[int, Any]:
        """Send a request, a POST if it has a body; return the status and what was answered."""
        method = "GET" if body is None else "POST"
        headers = {"Authorization": f"Bearer {self.name}"}
        reply = self.http.request(method, self.address + path, json=body, headers=headers)
        kind = path.split("?")[0].split("/")[0]
        self.replies[f"{method} {kind} {reply.status}"] += 1
        return reply.status, reply.json()

    def every(self, kind: str, query: str = "") -> Iterator[Any]:
        """All of a list, page by page."""
        following: str | None = ""
        while following is not None:
            _, listed = self.call(f"{kind}?limit=100{query}{following and '&next='}{following}")
            following = listed["next"]
            yield from listed[kind]

    def run(self, starts: int, total: int) -> None:
        """Start and answer by turns, until all clients together have answered everything."""
        until = time.monotonic() + PATIENCE_SECONDS
        while len(self.accepted) < total and time.monotonic() < until:
            if len(self.started) < starts and self.random.random() < 0.5:
                data = {"items": [f"{self.name}, {len(self.started)}"]}
                _, reply = self.call("workflows", {"workflowId": "load", "inputData": data})
                self.started.append(reply["id"])
            _, listed = self.call("approvals?limit=10")
            if not listed["approvals"]:
                time.sleep(0.1)
                continue
            until = time.monotonic() + PATIENCE_SECONDS
            asked = self.random.choice(listed["approvals"])["id"]
            if self.call(f"approvals/{asked}", {"decision": "APPROVED"})[0] == 200:
                self.accepted.append((asked, self.name))


def main() -> None:
    """Run all clients; print what came of it, and what is wrong."""
    count, starts, seed = (int(argument) for argument in sys.argv[1:])
    logging.disable()
    moto_table.prepare()
    known = {
        name: {"status": "ACTIVE", "tier": next(iter(tenants.tiers())), "overrides": LIMITS}
        for name in TENANTS
    }
    clients = [Client("", number, seed) for number in range(count)]
    people = {each.name: page.claims_of(each.tenant_id, each.name) for each in clients}
    parts = DEFINITION, workflow.run, parse_answer, people, emulator.free_port(), known
    with page.serving(*parts) as address, ThreadPoolExecutor(count) as threads:
        for client in clients:
            client.address = address
        began = time.perf_counter()
        list(threads.map(lambda client: client.run(starts, count * starts), clients))
        seconds = time.perf_counter() - began
        replies = sum((client.replies for client in clients), Counter[str]())
        registry = tenants.Registry(boto3.client("dynamodb"), os.environ["TENANT_TABLE"])
        left = {}
        for _ in range(PATIENCE_SECONDS):  # the last ones come to their end
            left = {each.tenant_id: each.running for each in registry.every() if each.running}
            if not left:
                break
            time.sleep(1)
        one_of_each = clients[: len(TENANTS)]
        listed = [run for client in one_of_each for run in client.every("workflows")]
        closed = [it for each in one_of_each for it in each.every("approvals", "&state=closed")]
        still_open = sum(len(list(each.every("approvals"))) for each in one_of_each)
        who = dict(Client.accepted)
        said = {
            each["id"]: client.call(f"workflows/{each['id']}")[1]["result"]["callbackResult"]
            for client in one_of_each
            for each in client.every("workflows")
            if each["state"] == "SUCCEEDED"
        }
    started = {name for client in clients for name in client.started}
    wrong = {
        "counted as running in the end": left,
        "started, and not listed as succeeded": sorted(
            started ^ {run["id"] for run in listed if run["state"] == "SUCCEEDED"}
        ),
        "started less than once": count * starts - len(started),
        "accepted more than once": len(Client.accepted) - len(who),
        "approvals that are open": still_open,
        "approved, and it is not recorded by whom": sorted(
            set(who.items()) ^ {(it["id"], it["decidedBy"]) for it in closed}
        ),
        "workflows that name somebody else": [
            it["workflow"]
            for it in closed
            if said.get(it["workflow"], {}).get("decidedBy") != who.get(it["id"])
        ],
        "replies": {name: n for name, n in replies.items() if name not in EXPECTED},
    }
    print(
        json.dumps(
            {
                "requests": sum(replies.values()),
                "seconds": round(seconds),
                "replies": dict(sorted(replies.items())),
                "workflows": len(listed),
                "wrong": {name: value for name, value in wrong.items() if value},
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
