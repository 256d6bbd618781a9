"""Delete the stack, after what runs in it has been stopped.

A function that is deleted drains its durable executions first, which can take long: as long as they
run, we suppose (github.com/aws-controllers-k8s/lambda-controller/pull/208, read 2026-11-25).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from ops import executions, local, stack

STOP_SECONDS = 300
"""How long executions may take to stop; a stop only has to be recorded."""


def delete(options: argparse.Namespace) -> int:
    """Say what is lost, ask, stop what runs, and delete; 1 if nobody has agreed.

    Raises:
        StackError: there is no such stack, the executions do not stop, or the SAM CLI fails.
    """
    known = stack.parameters()
    resources = resources_of(known["stack_name"])
    function = resources.get("WorkflowFunction")
    running = len(list(active(function))) if function else 0
    kept = [
        f"{name} {resources[name]}"
        for name, resource in local.template()["Resources"].items()
        if resource.get("DeletionPolicy") == "Retain" and name in resources
    ]
    print(f"{known['stack_name']}: {running} executions run, and are stopped.")
    print("Lost: the functions, all executions with their histories, the logs, the topics.")
    print(f"Kept: {', '.join(kept) or 'nothing'}")
    if not options.yes and not stack.agreed(f"Delete {known['stack_name']}?"):
        print("nothing has been deleted", file=sys.stderr)
        return 1
    if function:
        stop(function)
    command = [options.sam, "delete", "--no-prompts", "--stack-name", known["stack_name"]]
    try:
        deleted = subprocess.run([*command, "--region", known["region"]], check=False)  # noqa: S603
    except FileNotFoundError:
        message = f"there is no SAM CLI {options.sam!r}: make delete fetches it"
        raise stack.StackError(message) from None
    return 1 if deleted.returncode else 0


def resources_of(stack_name: str) -> dict[str, str]:
    """The resources of the stack that exist, by their names in the template."""
    client = stack.client("cloudformation")
    found = client.describe_stack_resources(StackName=stack_name)["StackResources"]
    return {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for resource in found
        if resource["ResourceStatus"] != "DELETE_COMPLETE" and "PhysicalResourceId" in resource
    }


def active(function: str) -> Iterator[dict[str, Any]]:
    """The executions of a function that are not over."""
    return executions.listed(function, executions.ACTIVE)


def stop(function: str) -> None:
    """Stop whatever runs, also what is started meanwhile, until nothing does.

    Raises:
        StackError: something still runs after ``STOP_SECONDS``.
    """
    deadline = time.monotonic() + STOP_SECONDS
    while running := list(active(function)):
        if time.monotonic() > deadline:
            raise stack.StackError(
                f"{len(running)} executions run after {STOP_SECONDS} s of stopping, and nothing "
                "has been deleted: stop whoever starts them, and try again"
            )
        for execution in running:
            executions.stop(execution["DurableExecutionArn"], "the stack is deleted")
        time.sleep(executions.POLL_SECONDS)
