"""One invocation: converts the host's message to arguments, and the function's results to the response."""

from __future__ import annotations

from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

from azure.functions.meta import Datum

from sandbox.host.worker.context import Context, Out, TraceContext
from sandbox.host.worker.index import Indexed
from sandbox.host.worker.signature import Parameter


def arguments(function: Indexed, message: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Out]]:
    """The keyword arguments of the call, and the output parameters among them.

    Raises:
        TypeError, ValueError: the trigger's data cannot be converted; the function is not called then.
    """
    metadata = {name: _datum(value) for name, value in message["metadata"].items()}
    given = {
        name: _decode(parameter, message["input"], metadata) for name, parameter in function.signature.inputs.items()
    }
    outputs = {name: Out() for name in function.signature.outputs}
    if function.signature.wants_context:
        trace = TraceContext(message["trace_parent"], message["trace_state"])
        given["context"] = Context(message["id"], function.name, str(Path.cwd()), trace)
    return given | outputs, outputs


def _decode(parameter: Parameter, sent: dict[str, Any], metadata: dict[str, Any]) -> Any:
    try:
        return parameter.converter.decode(_datum(sent), trigger_metadata=metadata)
    except NotImplementedError:
        raise TypeError(
            f"unable to decode incoming TypedData: unsupported combination of TypedData field {sent['type']!r} and "
            f"expected binding type {parameter.converter}"
        ) from None


def result(function: Indexed, returned: Any, outputs: dict[str, Out]) -> dict[str, Any]:
    """The response to the host for a function that has returned.

    Raises:
        RuntimeError: it returned a value for which there is no binding.
        TypeError: a binding does not support its value.
    """
    signature = function.signature
    if returned is not None and signature.returned is None:
        raise RuntimeError(f"function {function.name!r} without a $return binding returned a non-None value")
    values = {name: out.get() for name, out in outputs.items()}
    sent = {name: _encode(signature.outputs[name], value) for name, value in values.items() if value is not None}
    if signature.returned is None or (returned is None and not _replies_over_http(function)):
        return {"returned": None, "outputs": sent}
    return {"returned": _encode(signature.returned, returned), "outputs": sent}


def _replies_over_http(function: Indexed) -> bool:
    return any(binding["name"] == "$return" and binding["type"] == "http" for binding in function.bindings)


def _encode(parameter: Parameter, value: Any) -> dict[str, Any] | None:
    try:
        return _sendable(parameter.converter.encode(value, expected_type=parameter.pytype))
    except NotImplementedError:
        raise TypeError(
            f'unable to encode outgoing TypedData: unsupported type "{parameter.converter}" for Python type '
            f'"{type(value).__name__}"'
        ) from None


def _datum(sent: dict[str, Any]) -> Datum:
    """The Datum of a value as the host sends it: `{"type": string|json|bytes|http, "value": …}`."""
    kind, value = sent["type"], sent["value"]
    if kind == "bytes":
        return Datum(b64decode(value), kind)
    if kind == "http":
        return Datum(_request(value), kind)
    return Datum(value, kind)


def _request(value: dict[str, Any]) -> dict[str, Any]:
    named = {part: {k: Datum(v, "string") for k, v in value[part].items()} for part in ("headers", "query", "params")}
    return {
        "method": Datum(value["method"], "string"),
        "url": Datum(value["url"], "string"),
        "body": Datum(b64decode(value["body"]), "bytes"),
        **named,
    }


def _sendable(value: Datum | None) -> dict[str, Any] | None:
    """A Datum as it is sent to the host; None if there is no value."""
    if value is None or value.type is None:
        return None
    if value.type == "bytes":
        return {"type": "bytes", "value": b64encode(value.value).decode()}
    if value.type == "http":
        return {"type": "http", "value": _response(value.value)}
    return {"type": value.type, "value": value.value}


def _response(value: dict[str, Any]) -> dict[str, Any]:
    morsels = [morsel for cookie in value["cookies"] or () for morsel in cookie.values()]
    return {
        "status": int(value["status_code"].value),
        "headers": {name: item.value for name, item in value["headers"].items()},
        "cookies": [morsel.OutputString() for morsel in morsels],
        "body": b64encode(value["body"].value).decode(),
    }
