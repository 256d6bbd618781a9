"""What is deployed to the local AWS, and how the SAM CLI is called for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chassis.tenancy.profile import Profile
from ops import inbox, local, local_aws, stack, tenants

SAM = """\
#!/bin/sh
printf '%s\\n' "$@" > called
echo 'no such role' >&2
exit {status}
"""
Deploy = Callable[..., list[str]]


class Registry:
    """One tenant is there already."""

    added: list[Profile] = []  # noqa: RUF012 - each test has a class of its own

    def every(self) -> list[Profile]:
        return [Profile(next(iter(local.tenants())), "ACTIVE", "any", {})]

    def add(self, profile: Profile) -> None:
        self.added.append(profile)


@pytest.fixture
def deploy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Deploy:
    """Deploy with a SAM CLI that notes its arguments and ends with a status."""
    (tmp_path / "template.yaml").write_text("TENANCY: isolated\n", encoding="utf-8")
    monkeypatch.setattr(local_aws, "BUILT", tmp_path)
    monkeypatch.setattr(stack, "ROOT", tmp_path)
    monkeypatch.setattr(stack, "parameters", lambda: {"stack_name": "sample"})
    monkeypatch.setattr(inbox, "subscribe", lambda: None)
    monkeypatch.setattr(inbox, "url", lambda: "the inbox")
    monkeypatch.setattr(tenants, "Registry", type("Own", (Registry,), {"added": []}))

    def deploy_it(*parameters: str, status: int = 0) -> list[str]:
        program = tmp_path / "sam"
        program.write_text(SAM.format(status=status), encoding="utf-8")
        program.chmod(0o700)
        local_aws.deploy(str(program), list(parameters))
        return (tmp_path / "called").read_text(encoding="utf-8").splitlines()

    return deploy_it


def test_what_was_built_is_deployed_for_tenants_that_share_it(
    deploy: Deploy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tenant isolation is Lambda's own, and what was built stays as it is."""
    section = os.environ.pop("ENV")

    called = deploy("A=1", "B=2")

    template = tmp_path / "local.yaml"
    begin = ["deploy", "--template-file", str(template), "--no-progressbar"]
    config = ["--config-file", str(stack.SAMCONFIG)]
    assert called == [*begin, *config, "--parameter-overrides", "A=1", "B=2"]
    assert template.read_text(encoding="utf-8") == "TENANCY: pool\n"
    assert (tmp_path / "template.yaml").read_text(encoding="utf-8") == "TENANCY: isolated\n"
    assert capsys.readouterr().out == "The stack sample is deployed; its inbox is the inbox.\n"
    os.environ["ENV"] = section
    of_env = [*begin, *config, "--config-env", section]
    assert deploy() == of_env
    assert deploy("A=1") == [*of_env, "--parameter-overrides", f"TenantId={section}", "A=1"]


def test_the_tenants_that_are_not_there_are_added(deploy: Deploy) -> None:
    deploy()

    first, *others = local.tenants().items()
    registry: Any = tenants.Registry
    assert [(profile.tenant_id, profile.status, profile.tier) for profile in registry.added] == [
        (name, entry["status"], entry["tier"]) for name, entry in others
    ]
    assert first[0] not in {profile.tenant_id for profile in registry.added}


def test_what_cannot_be_deployed(deploy: Deploy, tmp_path: Path) -> None:
    with pytest.raises(stack.StackError, match=r"sam deploy failed:\n(.*\n)*no such role"):
        deploy(status=1)
    with pytest.raises(stack.StackError, match="there is no SAM CLI 'nowhere/sam'"):
        local_aws.deploy("nowhere/sam", [])
    (tmp_path / "template.yaml").unlink()
    with pytest.raises(stack.StackError, match="nothing has been built: make build"):
        deploy()
