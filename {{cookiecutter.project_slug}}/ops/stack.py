"""The deployed stack, as samconfig.toml names it: its outputs, and its functions."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

SAMCONFIG = Path(__file__).parent.parent / "samconfig.toml"


class StackError(Exception):
    """The stack is not there, or has refused; the message says what."""


def sections() -> dict[str, dict[str, Any]]:
    """The stacks that samconfig.toml names: name and Region of each, by its section."""
    config = tomllib.loads(SAMCONFIG.read_text(encoding="utf-8"))
    found = {
        name: section.get("global", {}).get("parameters", {})
        for name, section in config.items()
        if isinstance(section, dict)
    }
    return {name: values for name, values in found.items() if "stack_name" in values}


def parameters() -> dict[str, Any]:
    """Name and Region of the stack in the section ENV, or in the default one.

    Raises:
        StackError: there is no such section.
    """
    known = sections()
    name = os.environ.get("ENV") or "default"
    if name not in known:
        raise StackError(
            f"samconfig.toml names no stack for ENV={name}, expected one of {', '.join(known)}"
        )
    return known[name]


def client(service: str) -> Any:
    """A client in the stack's Region."""
    return boto3.client(service, region_name=parameters().get("region"))


def output(name: str) -> str:
    """An output of the stack.

    Raises:
        StackError: the stack has none of this name.
    """
    stack_name = parameters()["stack_name"]
    stack = client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"][0]
    for entry in stack["Outputs"]:
        if entry["OutputKey"] == name:
            return str(entry["OutputValue"])
    raise StackError(f"stack {stack_name} has no output {name}: deploy it again")


def call(function: str, event: Any) -> Any:
    """Invoke a function of the stack and return what it returns.

    Raises:
        StackError: the function has failed.
    """
    response = client("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())
    payload = json.loads(response["Payload"].read())
    if "FunctionError" in response:
        raise StackError(f"{function} failed: {payload.get('errorMessage', payload)}")
    return payload


def report(run: Callable[[], int]) -> int:
    """Run a command; 1 and one line on standard error where AWS or the stack refuses."""
    try:
        return run()
    except (StackError, BotoCoreError, ClientError) as error:
        print(error, file=sys.stderr)
        return 1


def add_tenant(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names the tenant."""
    parser.add_argument("--tenant", required=True, help="tenant id, 3 to 24 of a-z and 0-9")
