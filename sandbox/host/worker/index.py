"""Indexes the app's functions: imports `function_app`, finds its only FunctionApp, checks every function."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from azure.functions import FunctionRegister

from sandbox.host.worker.signature import Signature, read_signature


class AppError(Exception):
    """The module has no FunctionApp, or more than one."""


@dataclass(frozen=True)
class Indexed:
    """One function: its bindings as the SDK describes them, and how to call it."""

    name: str
    bindings: list[dict[str, Any]]
    signature: Signature


def index_app() -> list[Indexed]:
    """Import `function_app` from `sys.path` and index it.

    Raises:
        Exception: any error of the app at import; AppError and LoadError if the app is invalid.
    """
    app = _only_app(importlib.import_module("function_app"))
    return [_index(function) for function in app.get_functions()]


def _only_app(module: ModuleType) -> Any:
    apps = [name for name in dir(module) if isinstance(getattr(module, name), FunctionRegister)]
    if not apps:
        raise AppError("Could not find top level function app instances in function_app.py.")
    if len(apps) > 1:
        names = ", ".join(apps)
        raise AppError(f"More than one top level function app instance is defined in function_app.py: {names}.")
    return getattr(module, apps[0])


def _index(function: Any) -> Indexed:
    name = function.get_function_name()
    bindings = [json.loads(raw) for raw in function.get_raw_bindings()]
    return Indexed(name, bindings, read_signature(name, function.get_user_function(), bindings))
