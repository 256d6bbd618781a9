"""The durable part of the chassis; everything here is replayed, and does no I/O by itself.

A workflow imports these, and the operations of ``execution.context`` from the durable SDK.
"""

from chassis.durable.execution import Execution
from chassis.durable.handler import durable_handler
from chassis.durable.policies import JSON, RETRY_TRANSIENT

__all__ = ["JSON", "RETRY_TRANSIENT", "Execution", "durable_handler"]
