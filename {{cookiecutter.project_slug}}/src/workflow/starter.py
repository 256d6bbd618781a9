"""The entry point of the function that starts executions."""

from chassis.functions.starter import starter
from workflow.definition import DEFINITION

handler = starter(DEFINITION)
