"""host.json: the options that affect the host.

Source: https://learn.microsoft.com/azure/azure-functions/functions-host-json
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from sandbox.host.errors import Misconfigured

_KNOWN = frozenset(
    (
        "version",
        "aggregator",
        "applicationInsights",
        "concurrency",
        "customHandler",
        "extensionBundle",
        "extensions",
        "functions",
        "functionTimeout",
        "healthMonitor",
        "logging",
        "managedDependency",
        "retry",
        "singleton",
        "telemetryMode",
        "watchDirectories",
        "watchFiles",
    )
)
_TIME_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2}(?:\.\d+)?)")
_DEFAULT_TIMEOUT_SECONDS = 30 * 60.0
_MAX_BATCH = 32


class _Queues(msgspec.Struct, rename="camel"):
    batch_size: int = 16
    new_batch_threshold: int | None = None
    max_dequeue_count: int = 5
    visibility_timeout: str = "00:00:00"
    max_polling_interval: str = "00:01:00"
    message_encoding: str = "base64"


class _Http(msgspec.Struct, rename="camel"):
    route_prefix: str = "api"


class _Extensions(msgspec.Struct):
    queues: _Queues = msgspec.field(default_factory=_Queues)
    http: _Http = msgspec.field(default_factory=_Http)


class _Logging(msgspec.Struct, rename="camel"):
    log_level: dict[str, str] = {}


class _Document(msgspec.Struct, rename="camel"):
    version: str = ""
    extension_bundle: dict[str, Any] | None = None
    extensions: _Extensions = msgspec.field(default_factory=_Extensions)
    functions: list[str] | None = None
    function_timeout: str | None = None
    logging: _Logging = msgspec.field(default_factory=_Logging)


class QueueOptions(msgspec.Struct, frozen=True):
    """`extensions.queues`, times in seconds."""

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_dequeue_count: int = 5
    visibility_timeout_seconds: float = 0.0
    max_polling_interval_seconds: float = 60.0
    base64: bool = True


class HostJson(msgspec.Struct, frozen=True):
    """The effective options. `function_timeout_seconds` is None for no limit; `functions` is None for all."""

    queues: QueueOptions = QueueOptions()
    route_prefix: str = "api"
    function_timeout_seconds: float | None = _DEFAULT_TIMEOUT_SECONDS
    log_levels: Mapping[str, str] = {}
    has_extension_bundle: bool = False
    functions: list[str] | None = None
    warnings: tuple[str, ...] = ()


def read_host_json(app: Path) -> HostJson:
    """Read the app's host.json.

    Raises:
        Misconfigured: it is missing, is not JSON, or has a version other than "2.0" or an invalid value.
    """
    file = app / "host.json"
    try:
        raw = file.read_bytes()
        document, names = msgspec.json.decode(raw, type=_Document), msgspec.json.decode(raw)
    except (OSError, msgspec.MsgspecError) as error:
        raise Misconfigured(f"{file} cannot be read: {error}") from error
    if document.version != "2.0":
        raise Misconfigured(f'{file}: "version" must be "2.0", it is "{document.version}".')
    return HostJson(
        queues=_queue_options(document.extensions.queues),
        route_prefix=document.extensions.http.route_prefix.strip("/"),
        function_timeout_seconds=_timeout(document.function_timeout),
        log_levels=document.logging.log_level,
        has_extension_bundle=document.extension_bundle is not None,
        functions=document.functions,
        warnings=tuple(_warnings(names)),
    )


def seconds(text: str, what: str) -> float:
    """Convert a .NET TimeSpan, `[d.]hh:mm:ss[.fff]`, to seconds.

    Raises:
        Misconfigured: it is not a TimeSpan; the error names `what`.
    """
    match = _TIME_SPAN.fullmatch(text)
    if not match:
        raise Misconfigured(f"host.json: {what} must be a time like 00:05:00, it is '{text}'.")
    days, hours, minutes, rest = match.groups()
    return int(days or 0) * 86_400 + int(hours) * 3600 + int(minutes) * 60 + float(rest)


def _timeout(text: str | None) -> float | None:
    if text is None:
        return _DEFAULT_TIMEOUT_SECONDS
    return None if text in ("-1", "-00:00:01") else seconds(text, "functionTimeout")


def _queue_options(queues: _Queues) -> QueueOptions:
    if not 1 <= queues.batch_size <= _MAX_BATCH:
        raise Misconfigured(
            f"host.json: extensions.queues.batchSize must be 1 to {_MAX_BATCH}, it is {queues.batch_size}."
        )
    if queues.max_dequeue_count < 1:
        raise Misconfigured("host.json: extensions.queues.maxDequeueCount must be 1 or more.")
    encoding = queues.message_encoding.lower()
    if encoding not in ("base64", "none"):
        raise Misconfigured(f"host.json: extensions.queues.messageEncoding is base64 or none, not '{encoding}'.")
    threshold = queues.new_batch_threshold
    return QueueOptions(
        batch_size=queues.batch_size,
        new_batch_threshold=queues.batch_size // 2 if threshold is None else threshold,
        max_dequeue_count=queues.max_dequeue_count,
        visibility_timeout_seconds=seconds(queues.visibility_timeout, "extensions.queues.visibilityTimeout"),
        max_polling_interval_seconds=seconds(queues.max_polling_interval, "extensions.queues.maxPollingInterval"),
        base64=encoding == "base64",
    )


def _warnings(names: dict[str, Any]) -> list[str]:
    queue_names = names.get("extensions", {}).get("queues", {})
    known_options = {field.encode_name for field in msgspec.structs.fields(_Queues)}
    unknown = sorted(set(names) - _KNOWN)
    unknown += [f"extensions.queues.{name}" for name in sorted(set(queue_names) - known_options)]
    return [f"host.json: '{name}' is not a known key; it has no effect." for name in unknown]
