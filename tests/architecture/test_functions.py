"""The function index: what the host will find, without a host."""

from __future__ import annotations

import inspect
import json
import re
from functools import cache
from typing import Any

import function_app
from shared.settings import HINT_QUEUE, POISON, WORK_QUEUE
from tests.architecture.tree import ROOT, files, name


@cache
def index() -> dict[str, tuple[Any, list[dict[str, Any]]]]:
    """Each function by its name: its handler and its bindings."""
    return {
        str(function.get_function_name()): (
            function.get_user_function(),
            [json.loads(binding) for binding in function.get_raw_bindings()],
        )
        for function in function_app.app.get_functions()
    }


def test_every_module_of_functions_serves_a_function_that_is_registered() -> None:
    served = {handler.__module__ for handler, _ in index().values()}
    there = {f"functions.{file.stem}" for file in (ROOT / "functions").glob("*.py") if file.stem != "__init__"}
    assert served == there


def test_handler_parameters_are_named_like_their_bindings() -> None:
    for function, (handler, bindings) in index().items():
        bound = {binding["name"] for binding in bindings if binding["name"] != "$return"}
        parameters = set(inspect.signature(handler).parameters) - {"context"}
        assert parameters == bound, function


def test_every_function_has_one_trigger_and_a_name_the_host_takes() -> None:
    for function, (_, bindings) in index().items():
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,127}", function)
        assert sum(binding["type"].endswith("Trigger") for binding in bindings) == 1, function
        for binding in bindings:
            assert re.fullmatch(r"\$return|[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*", binding["name"]), function


def test_names_that_event_subscriptions_hold_on_to_stay_what_they_are() -> None:
    assert {"registry-events", "work", "work-poison", "hints", "hints-poison"} <= set(index())


def test_the_queues_and_their_poison_queues_are_served() -> None:
    queues = {
        binding["queueName"]
        for _, bindings in index().values()
        for binding in bindings
        if binding["type"] == "queueTrigger"
    }
    assert queues == {queue + end for queue in (WORK_QUEUE, HINT_QUEUE) for end in ("", POISON)}


def test_a_handler_that_returns_nothing_says_so() -> None:
    for function, (handler, bindings) in index().items():
        returns = any(binding["name"] == "$return" for binding in bindings)
        if not returns:
            assert inspect.signature(handler).return_annotation in ("None", None), function


def test_no_folder_looks_like_a_function_of_the_old_model() -> None:
    assert [name(file) for file in ROOT.glob("*/function.json")] == []


def test_the_host_is_told_what_the_bindings_need() -> None:
    host = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
    assert host["version"] == "2.0"
    assert host["extensionBundle"]["id"] == "Microsoft.Azure.Functions.ExtensionBundle"
    assert host["extensions"]["queues"]["messageEncoding"] == "base64"


def test_functions_import_no_sdk_but_that_of_functions() -> None:
    for file in files(".py", "functions"):
        text = file.read_text(encoding="utf-8")
        imports = re.findall(r"^\s*(?:import|from)\s+(azure[\w.]*)", text, re.MULTILINE)
        assert set(imports) <= {"azure.functions"}, name(file)
