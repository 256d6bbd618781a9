"""What an operator types: run, start, approve, look, steer, and look after tenants.

The verbs that speak to AWS speak to the stack of samconfig.toml that ENV names; with LOCAL=1 in
the environment, to the local AWS instead. The exit status is 0 if it is done, 1 if it was refused,
2 if the command line is wrong.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import Any, NamedTuple

TENANT = {"help": "3 to 24 of a-z and 0-9"}
EVENT = {"default": "events/order.json", "help": "input, a JSON file"}
JSON = {"action": "store_true", "help": "print JSON, for scripts"}
YES = {"action": "store_true", "help": "do not ask"}
WAIT = {"action": "store_true", "help": "until it asks, or is over"}
PAYLOADS = {"action": "store_true", "help": "with inputs and results, which are the tenant's"}
EXECUTION: dict[str, dict[str, Any]] = {"execution": {"help": "the ARN of the execution"}}
STATES = ["RUNNING", "PAUSING", "PAUSED", "SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED", "DELETING"]


class Verb(NamedTuple):
    """A verb of the program.

    Attributes:
        summary: what it does.
        example: the command line without the program.
        run: module and function, which is imported when it is needed: boto3 takes a while.
        arguments: by name, as ``add_argument`` takes them.
        of_stack: whether LOCAL=1 means the local AWS.
    """

    summary: str
    example: str
    run: str
    arguments: dict[str, dict[str, Any]]
    of_stack: bool = True


HISTORY: dict[str, dict[str, Any]] = {
    "execution": {"nargs": "?", "help": "the ARN of the execution"},
    "--history": {"metavar": "FILE", "help": "its history, instead of the stack's"},
    "--save": {"metavar": "FILE", "help": "keep the history in a file"},
    "--debug": {"action": "store_true", "help": "look at what is raised, in pdb"},
}
ANSWER: dict[str, dict[str, Any]] = {
    "--tenant": {"default": "", **TENANT},
    "--token": {"default": "", "help": "of the message; the local AWS knows what was asked first"},
    "--by": {"default": "", "help": "who decides; you, as AWS knows you, if it is left out"},
    "--comment": {"default": "", "help": "why"},
    "--json": JSON,
}
VERBS = {
    "run": Verb(
        "run the workflow on this machine",
        "run --answer approve",
        "run:main",
        {
            "--event": EVENT,
            "--answer": {
                "choices": ["ask", "approve", "reject", "timeout"],
                "default": "ask",
                "help": "what is answered whenever somebody is asked",
            },
            "--tenant": {"help": "instead of the event's; see ops/tenants.json"},
            #% if cookiecutter.front_door == "http_api"
            "--ui": {"action": "store_true", "help": "on a page in the browser; UI_PORT=8765"},
            "--no-open": {"dest": "open", "action": "store_false", "help": "no browser, with --ui"},
            #% endif
        },
        of_stack=False,
    ),
    "cost": Verb(
        "say what an approved execution costs",
        "cost --items 100",
        "cost:main",
        {
            "--event": {**EVENT, "help": "its items are repeated"},
            "--items": {"type": int, "default": 100, "help": "items of an execution"},
            "--nesting": {"choices": ["FLAT", "NESTED"], "help": "as the parameter Nesting"},
            "--items-per-checkpoint": {"type": int, "metavar": "N", "help": "1 to 100, likewise"},
            "--json": JSON,
        },
        of_stack=False,
    ),
    "start": Verb(
        "start an execution",
        "start --tenant acme --event events/order.json",
        "executions:start",
        {
            "--tenant": {"required": True, **TENANT},
            "--event": EVENT,
            "--wait": WAIT,
            "--json": JSON,
        },
    ),
    **{
        name: Verb(summary, f"{name} --tenant acme --token 0123", "executions:answer", ANSWER)
        for name, summary in {
            "approve": "approve what waits for an approval",
            "reject": "reject what waits for an approval",
            "heartbeat": "say that the approver is still there",
        }.items()
    },
    "approvals": Verb(
        "list the approvals of a tenant, the newest first",
        "approvals --tenant acme --state closed",
        "executions:approvals",
        {
            "--tenant": {"required": True, **TENANT},
            "--state": {"choices": ["pending", "closed"], "default": "pending", "help": "pending"},
            "--limit": {"type": int, "default": 20, "help": "how many; 20"},
            "--json": JSON,
        },
    ),
    "list": Verb(
        "list executions, the newest first",
        "list --state FAILED --tenant acme --since 2h",
        "steering:list_all",
        {
            "--state": {"type": str.upper, "choices": STATES, "help": "only these"},
            "--tenant": {"default": "", **TENANT},
            "--since": {"default": "", "help": "so long ago at most: 30m, 2h, 3d"},
            "--limit": {"type": int, "default": 20, "help": "how many; 20"},
            "--json": JSON,
        },
    ),
    "show": Verb(
        "show how an execution is, its operations, and its result",
        "show arn:aws:... --html execution.html",
        "steering:show",
        {
            **EXECUTION,
            "--svg": {"default": "", "metavar": "FILE", "help": "draw its timeline"},
            "--html": {"default": "", "metavar": "FILE", "help": "make a page of it"},
            "--payloads": PAYLOADS,
            "--json": JSON,
        },
    ),
    "watch": Verb(
        "say what an execution does until it is over",
        "watch arn:aws:...",
        "steering:watch",
        {**EXECUTION, "--json": JSON},
    ),
    "stop": Verb(
        "stop an execution for good",
        "stop arn:aws:... --reason 'wrong prices'",
        "steering:stop",
        {
            **EXECUTION,
            "--reason": {"default": "stopped by an operator", "help": "is the error it ends with"},
            "--yes": YES,
            "--json": JSON,
        },
    ),
    "pause": Verb(
        "let an execution run no more code until it is resumed",
        "pause arn:aws:... --reason 'deploying'",
        "steering:pause",
        {
            **EXECUTION,
            "--reason": {"default": "", "help": "is in the history"},
            "--keep-timeout": {"action": "store_true", "help": "its time runs on meanwhile"},
            "--json": JSON,
        },
    ),
    "resume": Verb(
        "let an execution that is paused go on",
        "resume arn:aws:...",
        "steering:pause",
        {**EXECUTION, "--reason": {"default": "", "help": "is in the history"}, "--json": JSON},
    ),
    "redrive": Verb(
        "start again the items of an execution that have no result; it asks for approval",
        "redrive arn:aws:...",
        "redrive:main",
        {
            **EXECUTION,
            "--all": {"action": "store_true", "help": "all of its items"},
            "--wait": WAIT,
            "--json": JSON,
        },
    ),
    "export": Verb(
        "write the history of an execution to a file, as JSON Lines",
        "export arn:aws:... history.jsonl",
        "steering:export",
        {
            **EXECUTION,
            "file": {"help": "to write"},
            "--payloads": PAYLOADS,
            "--yes": {"action": "store_true", "help": "overwrite the file, and do not ask"},
            "--json": JSON,
        },
    ),
    "replay": Verb(
        "replay an execution on this machine; nothing runs that it has not done",
        "replay arn:aws:...",
        "replay:main",
        HISTORY,
    ),
    "fork": Verb(
        "go on from an operation of an execution, on this machine",
        "fork arn:aws:... --from process-items",
        "replay:main",
        {
            **HISTORY,
            "--from": {"dest": "start", "metavar": "NAME", "help": "or from what has failed"},
            "--live": {"action": "store_true", "help": "run the steps of the workflow, too"},
        },
    ),
    "check-running": Verb(
        "replay every execution that runs; could it go on with this code?",
        "check-running",
        "replay:main",
        {},
    ),
    "operations": Verb(
        "list the operations of an execution",
        "operations --write",
        "operations:main",
        {"--write": {"action": "store_true", "help": "to the file that the tests compare with"}},
        of_stack=False,
    ),
    "tenant": Verb(
        "add, show and change tenants",
        "tenant add acme --tier standard",
        "tenants:manage",
        {
            "action": {
                "choices": [
                    *("add", "show", "set", "suspend", "resume"),
                    *("brake", "release", "remove", "list"),
                ],
                "help": "suspend: start nothing; brake: pause what runs, too, until release;"
                " remove: delete all that is kept",
            },
            "tenant": {"nargs": "?", "default": "", **TENANT},
            "--tier": {"default": "", "help": "one of tiers.toml"},
            "--limits": {"default": "", "help": "'map_concurrency=5 ...'; 'none' for the tier's"},
            #% if cookiecutter.__invoke
            "--usage": {"action": "store_true", "help": "remove the usage records, too"},
            #% endif
            "--yes": YES,
            "--json": JSON,
        },
    ),
    "delete": Verb(
        "stop what runs in the stack, and delete it",
        "delete --yes",
        "deletion:delete",
        {
            "--yes": YES,
            "--sam": {"default": "sam", "help": "the SAM CLI"},
        },
    ),
    "local": Verb(
        "serve a local AWS, and deploy to it",
        "local serve",
        "local_aws:manage",
        {
            "action": {
                "choices": ["serve", "up", "deploy", "down"],
                "help": "serve: until it is interrupted; up: in the background",
            },
            "--ministack": {"default": ".ministack/bin/ministack", "help": "the program"},
            "--sam": {"default": "sam", "help": "the SAM CLI"},
            "--parameters": {"default": "", "help": "Name=value ... of the template"},
        },
        of_stack=False,
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(
        prog="python -m ops",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(metavar="verb", dest="verb", required=True)
    for name, verb in VERBS.items():
        example = f"example: python -m ops {verb.example}"
        added = verbs.add_parser(name, help=verb.summary, description=verb.summary, epilog=example)
        for argument, how in verb.arguments.items():
            added.add_argument(argument, **how)
    options = parser.parse_args(arguments)
    stack = import_module("ops.stack")
    chosen = VERBS[options.verb]

    def run() -> int:
        if chosen.of_stack and stack.is_local():
            stack.use_local_aws()
        module, _, function = chosen.run.partition(":")
        return int(getattr(import_module(f"ops.{module}"), function)(options))

    try:
        return int(stack.report(run))
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
