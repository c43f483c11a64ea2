"""The app's functions: typed trigger and output bindings, with settings resolved."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from sandbox.host.errors import Misconfigured
from sandbox.host.settings import AppSettings

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,127}")
_BINDING_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*|\$return")
_DEFAULT_CONNECTION = "AzureWebJobsStorage"
_QUEUE_NAME = re.compile(r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")

AuthLevel = Literal["anonymous", "function", "admin"]


class HttpTrigger(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="httpTrigger", rename="camel"):
    """`methods` in upper case (empty: all); `route` without the prefix, None for the function's name."""

    name: str
    direction: str
    auth_level: str = "function"
    methods: tuple[str, ...] = ()
    route: str | None = None


class EventGridTrigger(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="eventGridTrigger", rename="camel"):
    """Events are posted to the host's Event Grid webhook."""

    name: str
    direction: str
    data_type: str = "UNDEFINED"


class QueueTrigger(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="queueTrigger", rename="camel"):
    """`connection` is the prefix of the settings that identify the storage account."""

    name: str
    direction: str
    queue_name: str
    connection: str = _DEFAULT_CONNECTION
    data_type: str = "UNDEFINED"


class TimerTrigger(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="timerTrigger", rename="camel"):
    """`schedule` is an NCRONTAB expression of six fields."""

    name: str
    direction: str
    schedule: str
    run_on_startup: bool = False
    use_monitor: bool = True
    data_type: str = "UNDEFINED"


class QueueOutput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="queue", rename="camel"):
    """The value that the function sets is sent to the queue after the function has succeeded."""

    name: str
    direction: str
    queue_name: str
    connection: str = _DEFAULT_CONNECTION
    data_type: str = "UNDEFINED"


class HttpOutput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="http", rename="camel"):
    """The HTTP response."""

    name: str
    direction: str


TriggerBinding = HttpTrigger | EventGridTrigger | QueueTrigger | TimerTrigger
_Binding = TriggerBinding | QueueOutput | HttpOutput
_TAGS = ("httpTrigger", "eventGridTrigger", "queueTrigger", "timerTrigger", "queue", "http")
_NEEDS_BUNDLE = (EventGridTrigger, QueueTrigger, QueueOutput)


class Function(msgspec.Struct, frozen=True):
    """One function of the app."""

    name: str
    trigger: TriggerBinding
    queue_outputs: tuple[QueueOutput, ...] = ()
    disabled: bool = False

    @property
    def trigger_type(self) -> str:
        """The trigger's binding type, such as `queueTrigger`."""
        return str(type(self.trigger).__struct_config__.tag)


def read_functions(indexed: Iterable[Mapping[str, Any]], settings: AppSettings, *, bundle: bool) -> list[Function]:
    """Parse the functions that a worker found, each `{"name": …, "bindings": […]}`.

    Raises:
        Misconfigured: a name, binding type or setting is not supported; the message names function and binding.
    """
    functions = [_read(entry["name"], entry["bindings"], settings) for entry in indexed]
    for function in functions:
        for binding in (function.trigger, *function.queue_outputs):
            if isinstance(binding, _NEEDS_BUNDLE) and not bundle:
                kind = type(binding).__struct_config__.tag
                message = f"the binding type '{kind}' needs an extensionBundle in host.json."
                raise Misconfigured(f"Function '{function.name}': {message}")
    return functions


def _read(name: str, raw: list[dict[str, Any]], settings: AppSettings) -> Function:
    if not _NAME.fullmatch(name) or name.lower() == "host":
        raise Misconfigured(f"Function '{name}': a name is a letter and up to 127 letters, digits, '-' or '_'.")
    bindings = [_binding(name, entry, settings) for entry in raw]
    trigger = next(b for b in bindings if not isinstance(b, (QueueOutput, HttpOutput)))
    outputs = tuple(b for b in bindings if isinstance(b, QueueOutput))
    flag = (settings.get(f"AzureWebJobs.{name}.Disabled") or "").lower()
    return Function(name, trigger, outputs, disabled=flag in ("true", "1"))


def _binding(function: str, raw: dict[str, Any], settings: AppSettings) -> _Binding:
    kind, name = raw.get("type"), raw.get("name", "")
    if kind not in _TAGS:
        known = ", ".join(_TAGS)
        raise Misconfigured(f"Function '{function}': the binding type '{kind}' is not in the sandbox. Known: {known}.")
    if not _BINDING_NAME.fullmatch(name) or "__" in name:
        raise Misconfigured(f"Function '{function}': '{name}' is not a binding name (letters, digits and single _).")
    where = f"Function '{function}', binding '{name}'"
    resolved = {key: _resolve(key, value, settings, where) for key, value in raw.items() if value is not None}
    try:
        binding: _Binding = msgspec.convert(resolved, type=_Binding)
    except msgspec.ValidationError as error:
        raise Misconfigured(f"{where}: {error}") from error
    _check_queue_name(binding, where)
    return binding


def _resolve(key: str, value: Any, settings: AppSettings, where: str) -> Any:
    if key == "connection":
        return value or _DEFAULT_CONNECTION
    if key == "authLevel":
        return str(value).lower()
    if key in ("queueName", "schedule", "route"):
        resolved = settings.resolve(value, where)
        return resolved.lower() if key == "queueName" else resolved
    return value


def _check_queue_name(binding: _Binding, where: str) -> None:
    if isinstance(binding, (QueueTrigger, QueueOutput)) and not _QUEUE_NAME.fullmatch(binding.queue_name):
        raise Misconfigured(f"{where}: '{binding.queue_name}' is not a queue name (3-63 of a-z, 0-9, single -).")
