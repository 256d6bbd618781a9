"""The API is as its document says: Schemathesis calls it with what is in it, and what is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from driver import Driver

CONFIG = Path(__file__).with_name("schemathesis.toml")


def test_the_api_is_as_its_document_says(driver: Driver, tenant: str, tmp_path: Path) -> None:
    for _ in range(3):
        driver.ask(tenant)
    document = Path(os.environ["PROJECT"]) / "docs" / "openapi.yaml"
    schemathesis = Path(sys.executable).with_name("schemathesis")

    run = subprocess.run(
        [schemathesis, "--config-file", CONFIG, "run", document, "--url", driver.url],
        cwd=tmp_path,
        env={**os.environ, "TOKEN": driver.token(tenant, "grace")},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout
