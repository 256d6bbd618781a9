"""What all tests need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aws_durable_execution_sdk_python import state
from aws_durable_execution_sdk_python_testing.executor import Executor


@pytest.fixture(autouse=True, scope="session")
def _do_not_wait_between_invocations() -> Iterator[None]:
    """There is nothing to see in these waits.

    Each invocation of the SDK waits up to 100 ms for a thread to see that it should stop. After one
    that has failed the runner waits five seconds, as Lambda waits; so it does when a retry becomes
    due in the moment in which an invocation suspends.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "_STOP_SIGNAL_POLL_SECONDS", 0.005)
        patch.setattr(Executor, "RETRY_BACKOFF_SECONDS", 0)
        yield
