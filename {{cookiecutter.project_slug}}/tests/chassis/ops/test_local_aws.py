"""The local AWS: what it says when it cannot; that it can, ``make local-up`` and so on show."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from werkzeug import Request, Response
from werkzeug.serving import make_server

from ops import emulator, local, local_aws, stack
from ops.__main__ import main
from tests.execution import SECONDS

NOT_UP = "the local AWS is not up: make local-up\n"


@pytest.fixture(autouse=True)
def _nothing_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[None]:
    """Nothing is where the local AWS would be, and nobody sees a traceback."""
    monkeypatch.setattr(local_aws, "LOG", tmp_path / "log")
    yield
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        "local deploy",
        "local down",
        "start --tenant acme",
        "approve",
        "reject --tenant acme --token t",
        "heartbeat",
        *("list", "show arn", "watch arn", "stop arn"),
        *("pause arn", "resume arn", "export arn file"),
        "tenant list",
    ],
)
def test_everything_needs_it_to_be_up(
    arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stack, "client", lambda _: pytest.fail("AWS was called"))
    os.environ["LOCAL"] = "1"

    assert main(arguments.split()) == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", NOT_UP)


@pytest.mark.parametrize("arguments", ["local up", "local serve"])
@pytest.mark.parametrize("next_one", [0, 1])
def test_a_port_that_is_taken(
    arguments: str,
    next_one: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(stack, "IDENTITY_SECONDS", 0.02)  # it never says anything
    with socket.create_server((stack.HOST, 0)) as server:
        taken = server.getsockname()[1]
        os.environ["LOCAL_PORT"] = str(taken - next_one)

        assert main(arguments.split()) == 1
    error = capsys.readouterr().err
    assert f"port {taken} is taken" in error
    assert "export LOCAL_PORT=" in error


def test_a_program_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["local", "up", "--ministack", "no-such-program"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("the local AWS did not start: FileNotFoundError")
    assert "no-such-program" in line


@pytest.mark.parametrize("port", ["0", "65535", "99999", "4566x"])
@pytest.mark.parametrize("arguments", ["local up", "local down", "local serve"])
def test_a_port_that_is_none(port: str, arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    os.environ["LOCAL_PORT"] = port

    assert main(arguments.split()) == 1
    assert capsys.readouterr().err == f"LOCAL_PORT is {port!r}, expected 1024 to 65534\n"


def test_a_stack_that_samconfig_does_not_name(capsys: pytest.CaptureFixture[str]) -> None:
    os.environ["ENV"] = "nowhere"

    assert main(["local", "up"]) == 1
    assert "names no stack for ENV=nowhere" in capsys.readouterr().err
    assert not local_aws.LOG.exists()  # nothing was started


@pytest.fixture
def ours() -> Iterator[None]:
    """A front that says it is ours, and has nothing behind it."""
    nowhere = "http://127.0.0.1:9"
    yield from serve(emulator.Front(emulator.MiniStack(nowhere, "us-east-1"), nowhere, "us-east-1"))


def serve(application: object) -> Iterator[None]:
    """Serve a WSGI application where the front would be."""
    server = make_server(stack.HOST, 0, application)  # type: ignore[arg-type]
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    os.environ["LOCAL_PORT"] = str(server.server_port - 1)
    yield
    server.shutdown()
    thread.join()


@pytest.mark.usefixtures("ours")
def test_it_says_whose_it_is() -> None:
    assert stack.local_process() == os.getpid()


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize("arguments", ["local up", "local serve"])
def test_only_one_is_up(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments.split()) == 1
    assert capsys.readouterr().err == "the local AWS is up already: make local-down stops it\n"


def test_up_says_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "program"  # what is started, whatever PATH is
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(local_aws, "require_free_ports", lambda: None)
    monkeypatch.setattr(local_aws, "listens", [stack.local_port()].__contains__)
    monkeypatch.setattr(stack, "local_process", lambda: 7)

    assert main(["local", "up", "--ministack", "any"]) == 0
    address = f"http://{stack.HOST}:{stack.local_port()}"
    said = f"The local AWS is up at {address}, Lambda one port up."
    assert capsys.readouterr().out.splitlines() == [said]


def test_it_serves_this_machine_alone_and_stops_what_it_has_started(tmp_path: Path) -> None:
    program, said = tmp_path / "ministack", tmp_path / "said"
    script = f"#!/bin/sh\necho $$ $BIND_HOST:$GATEWAY_PORT >{said}\nexec sleep 60\n"
    program.write_text(script, encoding="utf-8")
    program.chmod(0o700)
    said.touch()
    port = stack.local_port()
    command = [sys.executable, "-m", "ops", "local", "serve", "--ministack", str(program)]
    process = subprocess.Popen(command, cwd=stack.ROOT)  # noqa: S603
    try:
        while not (local_aws.listens(port + 1) and said.read_text(encoding="utf-8")):
            assert process.poll() is None
            time.sleep(0.05)
        assert stack.local_process() == process.pid
        with socket.socket() as others:  # an address of this machine that is not the one served
            assert others.connect_ex(("127.0.0.2", port + 1))
        process.terminate()
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
    started, address = said.read_text(encoding="utf-8").split()
    assert address == f"{stack.HOST}:{port}"
    with pytest.raises(ProcessLookupError):
        os.kill(int(started), 0)


@pytest.mark.usefixtures("ours")
def test_down_stops_the_process_that_it_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *request: stopped.append(request))
    monkeypatch.setattr(local_aws, "listens", lambda _port: not stopped)

    assert main(["local", "down"]) == 0
    assert stopped == [(os.getpid(), signal.SIGTERM)]
    assert capsys.readouterr().out == "The local AWS is down.\n"


@pytest.mark.usefixtures("ours")
def test_what_does_not_stop_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "kill", lambda *_: None)
    monkeypatch.setattr(local_aws, "START_SECONDS", 0.2)

    assert main(["local", "down"]) == 1
    assert capsys.readouterr().err == f"process {os.getpid()} does not stop\n"


@pytest.mark.usefixtures("ours")
def test_the_local_aws_of_another_project_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(local, "ROOT", tmp_path)
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("it was stopped"))
    os.environ["LOCAL"] = "1"

    for arguments in (["local", "down"], ["local", "deploy"], ["tenant", "list"]):
        assert main(arguments) == 1
        assert capsys.readouterr().err == NOT_UP
    assert main(["local", "up"]) == 1
    assert f"port {stack.local_port() + 1} is taken" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["nothing", "[]", "{}", '"local-aws"', '{"process": 1}', "\xff"])
def test_what_answers_something_else_is_left_alone(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("it was stopped"))

    @Request.application
    def answer(_request: Request) -> Response:
        return Response(text.encode("latin-1"))

    for _ in serve(answer):
        assert main(["local", "down"]) == 1
        assert capsys.readouterr().err == NOT_UP


@pytest.mark.usefixtures("ours")
def test_nothing_of_the_users_own_account_is_used() -> None:
    for name in ("PROFILE", "SESSION_TOKEN", "ENDPOINT_URL_DYNAMODB", "ACCESS_KEY_ID"):
        os.environ[f"AWS_{name}"] = "mine"
    os.environ["HTTP_PROXY"] = "http://proxy.example.com"
    os.environ["NO_PROXY"] = "example.org"

    stack.use_local_aws()

    assert "mine" not in os.environ.values()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "example.org,127.0.0.1,localhost"
    port = stack.local_port()
    assert os.environ["AWS_ENDPOINT_URL"] == f"http://127.0.0.1:{port}"
    assert os.environ["AWS_ENDPOINT_URL_LAMBDA"] == f"http://127.0.0.1:{port + 1}"
    endpoints = {stack.client(name).meta.endpoint_url for name in ("dynamodb", "sts", "lambda")}
    assert endpoints == {f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"}
