"""The entry point of the workflow's function."""

from chassis.durable import durable_handler
from workflow.definition import DEFINITION
from workflow.workflow import run

handler = durable_handler(DEFINITION, run)
