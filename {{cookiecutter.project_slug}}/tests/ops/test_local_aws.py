"""The local AWS: what it says when it cannot; that it can, ``make local-up`` and so on show."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from unittest.mock import patch

import pytest
from werkzeug.serving import make_server

from ops import emulator, local_aws, stack


@pytest.fixture(autouse=True)
def _nothing_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[None]:
    monkeypatch.setattr(local_aws, "STATE", tmp_path)
    monkeypatch.setattr(local_aws, "IDENTITY_SECONDS", 0.5)
    with patch.dict(os.environ, ENV=next(iter(stack.sections()))):
        yield
    assert "Traceback" not in capsys.readouterr().err


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("verb", ["deploy", "start", "approve", "reject", "down"])
def test_everything_needs_it_to_be_up(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert local_aws.main([verb]) == 1
    assert capsys.readouterr().err == "the local AWS is not up: make local-up\n"


def test_a_port_that_is_taken(taken: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert local_aws.main(["up", "--port", str(taken)]) == 1
    assert f"port {taken} is taken" in capsys.readouterr().err


def test_a_program_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], free_ports: int
) -> None:
    assert local_aws.main(["up", "--port", str(free_ports), "--ministack", "no-such-program"]) == 1
    assert "did not start: FileNotFoundError" in capsys.readouterr().err
    assert not (tmp_path / "process.json").exists()


@pytest.fixture
def free_ports() -> int:
    """A port that nobody listens at, and nobody at the next."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1]) - 1


def test_one_that_has_stopped_by_itself(taken: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is stopped in its place, whoever has its process id and its port now."""
    local_aws.write("process", {"pid": os.getpid(), "port": taken - 1, "identity": "x"})

    assert local_aws.main(["start"]) == 1
    assert "has stopped" in capsys.readouterr().err
    assert local_aws.main(["down"]) == 0
    assert local_aws.main(["down"]) == 1


def test_state_that_cannot_be_read_is_no_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "process.json").write_text('{"pid": 1, ', encoding="utf-8")

    assert local_aws.main(["start"]) == 1
    assert capsys.readouterr().err == "the local AWS is not up: make local-up\n"


@pytest.mark.parametrize("port", ["0", "65535", "99999"])
def test_a_port_that_is_none(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        local_aws.main(["up", "--port", port])
    assert "expected 1024 to 65534" in capsys.readouterr().err


def test_a_stack_that_samconfig_does_not_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.environ["ENV"] = "nowhere"

    assert local_aws.main(["up"]) == 1
    assert "names no stack for ENV=nowhere" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.fixture
def ours() -> Iterator[None]:
    """A front that says it is ours, and does nothing else."""
    front = emulator.Front("http://127.0.0.1:9", "http://127.0.0.1:9", "us-east-1", "ours")
    server = make_server("127.0.0.1", 0, front)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    local_aws.write("process", {"pid": 1, "port": server.server_port - 1, "identity": "ours"})
    yield
    server.shutdown()
    thread.join()


@pytest.mark.usefixtures("ours")
def test_only_one_is_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert local_aws.main(["up"]) == 1
    assert "is up already" in capsys.readouterr().err


@pytest.mark.usefixtures("ours")
def test_the_local_aws_of_another_project_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("it was stopped"))
    local_aws.write("process", local_aws.read("process") | {"identity": "of another project"})

    assert local_aws.main(["start"]) == 1
    assert "has stopped" in capsys.readouterr().err
    assert local_aws.main(["down"]) == 0


@pytest.mark.usefixtures("ours")
def test_an_answer_needs_a_question(capsys: pytest.CaptureFixture[str]) -> None:
    assert local_aws.main(["approve"]) == 1
    assert "nothing waits for an approval" in capsys.readouterr().err


@pytest.mark.usefixtures("ours")
def test_nothing_of_the_users_own_account_is_used() -> None:
    for name in ("PROFILE", "SESSION_TOKEN", "ENDPOINT_URL_DYNAMODB", "ACCESS_KEY_ID"):
        os.environ[f"AWS_{name}"] = "mine"
    os.environ["HTTP_PROXY"] = "http://proxy.example.com"

    local_aws.use_local_aws()

    assert "mine" not in os.environ.values()
    assert "127.0.0.1" in os.environ["NO_PROXY"]
