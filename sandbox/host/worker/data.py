"""`Datum`s, the SDK's currency of values, from and to what goes over the wire."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from azure.functions.meta import Datum


def datum(sent: dict[str, Any]) -> Datum:
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


def sendable(value: Datum | None) -> dict[str, Any] | None:
    """A Datum as it goes to the host; None where there is no value."""
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
