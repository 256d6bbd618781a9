"""``python -m ops``: the exit status, the help, and how little a verb loads."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops import __main__ as ops_main
from ops import stack, steering
from ops.__main__ import main

VERBS = [
    *("run", "cost", "start", "approve", "reject", "heartbeat", "approvals"),
    *("list", "show", "watch", "stop", "pause", "resume", "redrive", "export"),
    *("replay", "fork", "check-running", "operations"),
    *("tenant", "delete", "local"),
]
LOADED = """
import json, runpy, sys
sys.argv = ["ops", *sys.argv[1:]]
try:
    runpy.run_module("ops", run_name="__main__", alter_sys=True)
except SystemExit as exit:
    print(json.dumps([exit.code, *sys.modules]))
"""


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_shows_an_example(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([verb, "--help"])

    assert exit_.value.code == 0
    assert f"example: python -m ops {verb}" in " ".join(capsys.readouterr().out.split())


def test_the_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])

    assert exit_.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line[:4] == " " * 4 and line[4] != " "] == VERBS
    text = " ".join(" ".join(lines).split())
    assert all(verb.summary in text for verb in ops_main.VERBS.values())


@pytest.mark.parametrize(
    "arguments", ["", "fly", "start", "run --answer perhaps", "local", "tenant dismiss", "show"]
)
def test_a_command_line_that_is_wrong(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments.split())

    assert exit_.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "usage: python -m ops" in printed.err


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_options: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(steering, "show", interrupt)

    assert main(["show", "arn"]) == 130
    assert capsys.readouterr().err == "\ninterrupted\n"


@pytest.mark.parametrize("verb", ["start", "list", "tenant"])
def test_a_verb_of_a_stack_loads_nothing_that_it_does_not_need(verb: str, tmp_path: Path) -> None:
    """Nor does it fail where the workflow is not whole."""
    event = tmp_path / "event.json"
    event.write_text("{}", encoding="utf-8")
    arguments = {
        "start": ["--tenant", "acme", "--event", str(event)],
        "list": [],
        "tenant": ["list"],
    }
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", LOADED, verb, *arguments[verb]],
        cwd=stack.ROOT,
        env={**os.environ, "ENV": "nowhere", "LOCAL": ""},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stderr.startswith("samconfig.toml names no stack for ENV=nowhere")
    status, *modules = json.loads(done.stdout)
    assert status == 1
    assert "ops.stack" in modules
    loaded = {module.partition(".")[0] for module in modules}
    sdk = "aws_durable_execution_sdk_python"
    assert not loaded & {sdk, f"{sdk}_testing", "samtranslator", "workflow"}
