"""The deployed stack on this machine: a local AWS, without an account and without Docker.

The template is built and deployed as for AWS; ``ops/emulator.py`` is the AWS. It keeps nothing once
it has stopped, and leaves one file: the log of what runs in the background. docs/local-aws.md has
what it cannot show.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from chassis.tenancy.profile import Profile
from ops import emulator, inbox, local, stack, tenants

LOG = stack.ROOT / ".local-aws.log"
BUILT = stack.ROOT / ".aws-sam" / "build"
START_SECONDS = 30


def manage(options: argparse.Namespace) -> int:
    """Do what the command line says.

    Raises:
        StackError: it cannot be done; the message says why.
    """
    if options.action == "serve":
        require_free_ports()
        where = f"http://{stack.HOST}:{stack.local_port()}"
        print(f"The local AWS is at {where}; Ctrl-C stops it.", flush=True)  # before any error
        emulator.serve(options.ministack)
    elif options.action == "up":
        up(options.ministack)
    elif options.action == "deploy":
        stack.use_local_aws()
        deploy(options.sam, options.parameters.split())
    else:
        down()
    return 0


def require_free_ports() -> None:
    """Check that nothing listens where the local AWS wants to.

    Raises:
        StackError: it runs already, or a port is taken.
    """
    if stack.local_process():
        raise stack.StackError("the local AWS is up already: make local-down stops it")
    port = stack.local_port()
    for taken in filter(listens, (port, port + 1)):
        other = port + 1000 if port < 60_000 else port - 1000
        raise stack.StackError(
            f"port {taken} is taken: stop what listens there, or choose two others, "
            f"{other} and the next: export LOCAL_PORT={other}"
        )


def up(ministack: str) -> None:
    """Serve in the background, and wait until it answers.

    Raises:
        StackError: ENV names no stack, it runs already, a port is taken, or it did not start.
    """
    stack.parameters()  # refuses an ENV that is none, before anything is started
    require_free_ports()
    command = [sys.executable, "-m", "ops", "local", "serve", "--ministack", ministack]
    with LOG.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(  # noqa: S603
            command, cwd=stack.ROOT, stdout=log, stderr=log, start_new_session=True
        )
    deadline = time.monotonic() + START_SECONDS
    try:
        while not (stack.local_process() and listens(stack.local_port())):
            if process.poll() is not None or time.monotonic() > deadline:
                raise stack.StackError(
                    f"the local AWS did not start: {last_line(LOG)} (all of it: {LOG})"
                )
            time.sleep(0.1)
    except (stack.StackError, KeyboardInterrupt):
        process.terminate()
        raise
    print(f"The local AWS is up at http://{stack.HOST}:{stack.local_port()}, Lambda one port up.")


def deploy(sam: str, parameters: list[str]) -> None:
    """Deploy the built template, add the tenants of ``ops/tenants.json``, listen for approvals.

    Raises:
        StackError: nothing has been built, there is no SAM CLI, or it has failed.
    """
    built = BUILT / "template.yaml"
    if not built.exists():
        raise stack.StackError("nothing has been built: make build, or sam build")
    # Tenant isolation is Lambda's own: here the function runs as one that all tenants share.
    template = built.with_name("local.yaml")
    text = built.read_text(encoding="utf-8")
    template.write_text(text.replace("TENANCY: isolated", "TENANCY: pool"), encoding="utf-8")
    command = [sam, "deploy", "--template-file", str(template), "--no-progressbar"]
    command += ["--config-file", str(stack.SAMCONFIG)]
    if section := os.environ.get("ENV"):
        command += ["--config-env", section]
        parameters = [f"TenantId={section}", *parameters] if parameters else []
    if parameters:
        command += ["--parameter-overrides", *parameters]
    try:
        deployed = subprocess.run(  # noqa: S603
            command, cwd=stack.ROOT, check=False, capture_output=True, text=True
        )
    except FileNotFoundError:
        message = f"there is no SAM CLI {sam!r}: make local-deploy fetches it"
        raise stack.StackError(message) from None
    if deployed.returncode:
        raise stack.StackError(f"sam deploy failed:\n{deployed.stdout}{deployed.stderr}")
    add_tenants()
    inbox.subscribe()
    print(f"The stack {stack.parameters()['stack_name']} is deployed; its inbox is {inbox.url()}.")


def add_tenants() -> None:
    """Give the registry the tenants that the local run has, too; those that are there stay."""
    registry = tenants.Registry()
    known = {profile.tenant_id for profile in registry.every()}
    for name, entry in local.tenants().items():
        if name not in known:
            overrides = entry.get("overrides", {})
            registry.add(Profile(name, entry["status"], entry["tier"], overrides))


def down() -> None:
    """Stop it; whatever it held is gone.

    Raises:
        StackError: it does not run, or does not stop.
    """
    process, port = stack.local_process(), stack.local_port()
    if process is None:
        raise stack.StackError("the local AWS is not up: make local-up")
    os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + START_SECONDS
    while listens(port) or listens(port + 1):
        if time.monotonic() > deadline:
            raise stack.StackError(f"process {process} does not stop")
        time.sleep(0.1)
    print("The local AWS is down.")


def listens(port: int) -> bool:
    """Whether somebody answers at a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex((stack.HOST, port)) == 0


def last_line(path: Path) -> str:
    """The last line of a log."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return lines[-1] if lines else "it said nothing"
