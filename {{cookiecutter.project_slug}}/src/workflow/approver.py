"""The entry point of the function that answers approvals."""

from chassis.functions.approver import approver
from workflow.callback_helper import parse_answer

handler = approver(parse_answer)
