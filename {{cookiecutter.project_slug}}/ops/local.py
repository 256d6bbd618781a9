"""The function's environment on this machine: what ``template.yaml`` would deploy by default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

TEMPLATE = Path(__file__).parent.parent / "template.yaml"


def environment() -> dict[str, str]:
    """The environment variables, with every parameter at its default.

    What refers to a resource of the stack is empty: there are none on this machine.
    """
    template = yaml_parse(TEMPLATE.read_text(encoding="utf-8"))
    defaults = {name: str(spec["Default"]) for name, spec in template["Parameters"].items()}
    function = template["Resources"]["WorkflowFunction"]["Properties"]
    variables: dict[str, Any] = function["Environment"]["Variables"]
    return {name: _resolve(value, defaults) for name, value in variables.items()}


def _resolve(value: Any, defaults: dict[str, str]) -> str:
    if isinstance(value, dict) and "Ref" in value:
        return defaults.get(value["Ref"], "")
    if isinstance(value, dict) and "Fn::Sub" in value:
        return re.sub(r"\$\{(\w+)\}", lambda match: defaults[match[1]], value["Fn::Sub"])
    return str(value)
