"""The deployed stack, as samconfig.toml names it: its outputs, and its functions."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import urllib3
from botocore.exceptions import BotoCoreError, ClientError

ROOT = Path(__file__).parent.parent
SAMCONFIG = ROOT / "samconfig.toml"
HOST = "127.0.0.1"
IDENTITY = "/local-aws"
"""Asked for this, the front of the local AWS says which project it serves, and its process."""

IDENTITY_SECONDS = 2
"""How long whoever is at the port may take to say that."""


class StackError(Exception):
    """The stack is not there, or has refused; the message says what."""


class UsageError(StackError):
    """The command line is wrong."""


def report(run: Callable[[], int]) -> int:
    """Run a verb; one line on standard error, and 1 or 2, where it is refused."""
    try:
        return run()
    except (StackError, BotoCoreError, ClientError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1


def agreed(question: str) -> bool:
    """Ask; nobody to ask is a no."""
    with suppress(EOFError):
        return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}
    return False


def is_local() -> bool:
    """Whether the local AWS is meant."""
    return os.environ.get("LOCAL", "0") not in {"", "0"}


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
    """A client in the stack's Region.

    Raises:
        StackError: an endpoint of the user's own is no address.
    """
    region = parameters().get("region")
    try:
        return boto3.client(service, region_name=region)
    except ValueError as error:
        raise StackError(f"cannot reach AWS: {error}") from error


def output(name: str) -> str:
    """An output of the stack.

    Raises:
        StackError: the stack has none of this name.
    """
    return _described("Output", name)


def parameter(name: str) -> str:
    """A parameter of the stack, as it was deployed.

    Raises:
        StackError: the stack has none of this name.
    """
    return _described("Parameter", name)


def _described(kind: str, name: str) -> str:
    stack_name = parameters()["stack_name"]
    stack = client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"][0]
    for entry in stack[f"{kind}s"]:
        if entry[f"{kind}Key"] == name:
            return str(entry[f"{kind}Value"])
    raise StackError(f"stack {stack_name} has no {kind.lower()} {name}: deploy it again")


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


def local_port(variable: str = "LOCAL_PORT", default: str = "4566") -> int:
    """A port of this machine; the local AWS takes LOCAL_PORT and the next.

    Raises:
        StackError: the environment variable is not such a port.
    """
    port = os.environ.get(variable) or default
    if not port.isascii() or not port.isdigit() or not 1024 <= int(port) <= 65_534:
        raise StackError(f"{variable} is {port!r}, expected 1024 to 65534")
    return int(port)


def local_process() -> int | None:
    """The process of this project's local AWS, or None if that is not what is at the port."""
    url = f"http://{HOST}:{local_port() + 1}{IDENTITY}"
    try:
        said = urllib3.request("GET", url, timeout=IDENTITY_SECONDS, retries=False).json()
        return int(said["process"]) if said["project"] == str(ROOT) else None
    except (urllib3.exceptions.HTTPError, ValueError, TypeError, KeyError):
        return None  # nobody, or somebody else


def use_local_aws() -> None:
    """Let every client of this process speak to the local AWS, and to nothing else.

    Raises:
        StackError: it does not run.
    """
    if local_process() is None:
        raise StackError("the local AWS is not up: make local-up")
    clean = local_environment()
    os.environ.clear()
    os.environ.update(clean, SAM_CLI_POLL_DELAY="1", SAM_CLI_TELEMETRY="0")


def local_environment() -> dict[str, str]:
    """This process's environment, but every AWS client speaks to the local AWS, and nothing else.

    A profile, a session or an endpoint of the user's own is not in it, and no proxy stands between.
    """
    others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    direct = ",".join(filter(None, [os.environ.get("NO_PROXY"), HOST, "localhost"]))
    return others | {
        "NO_PROXY": direct,
        "no_proxy": direct,
        "AWS_ENDPOINT_URL": f"http://{HOST}:{local_port()}",
        "AWS_ENDPOINT_URL_LAMBDA": f"http://{HOST}:{local_port() + 1}",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": str(parameters()["region"]),
    }
