"""The stack of samconfig.toml, and a local AWS that is not up."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from ops import stack


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """Each test has an environment of its own, with a stack, and without a local AWS."""
    known = {"ENV": next(iter(stack.sections())), "LOCAL_PORT": str(free_ports())}
    with patch.dict(os.environ, known):
        os.environ.pop("LOCAL", None)
        yield


def free_ports() -> int:
    """A port that nobody listens at, nor at the next."""
    while True:
        with socket.create_server((stack.HOST, 0)) as first:
            port = int(first.getsockname()[1])
        if port < 65_534:
            try:
                socket.create_server((stack.HOST, port + 1)).close()
            except OSError:
                continue
            return port
