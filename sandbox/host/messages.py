"""The messages between host and worker, as the host reads and writes them."""

from __future__ import annotations

from typing import Any

import msgspec


class Datum(msgspec.Struct, frozen=True):
    """A typed value: `string` and `json` hold text, `bytes` holds bytes (base64 on the wire), `http` an HttpRequest or
    an HttpAnswer."""

    type: str
    value: Any

    @property
    def raw(self) -> bytes:
        """The value of `bytes`.

        Raises:
            msgspec.ValidationError: it is not base64.
        """
        return msgspec.convert(self.value, type=bytes)


class HttpRequest(msgspec.Struct, frozen=True):
    """The value of an incoming `http` Datum; header names in lower case."""

    method: str
    url: str
    headers: dict[str, str]
    query: dict[str, str]
    params: dict[str, str]
    body: bytes


class HttpAnswer(msgspec.Struct, frozen=True):
    """The value of a returned `http` Datum; `cookies` are whole Set-Cookie values."""

    status: int
    headers: dict[str, str]
    cookies: list[str]
    body: bytes


class Invoke(msgspec.Struct, frozen=True, tag_field="kind", tag="invoke"):
    """Run a function."""

    id: str
    function: str
    input: Datum
    metadata: dict[str, Datum] = {}
    trace_parent: str = ""
    trace_state: str = ""


class IndexedFunction(msgspec.Struct, frozen=True):
    """A function as the worker found it, with its bindings as the SDK describes them."""

    name: str
    bindings: list[dict[str, Any]]


class Loaded(msgspec.Struct, frozen=True, tag_field="kind", tag="loaded"):
    """The app is imported and every function matches its bindings."""

    functions: list[IndexedFunction]


class Broken(msgspec.Struct, frozen=True, tag_field="kind", tag="broken"):
    """The app cannot be served; `error` is the traceback."""

    error: str


class Log(msgspec.Struct, frozen=True, tag_field="kind", tag="log"):
    """A log record of the app; `invocation` is None outside an invocation."""

    level: str
    logger: str
    message: str
    invocation: str | None


class Done(msgspec.Struct, frozen=True, tag_field="kind", tag="done"):
    """An invocation succeeded; `outputs` contains only those that were set."""

    id: str
    returned: Datum | None
    outputs: dict[str, Datum]


class Failed(msgspec.Struct, frozen=True, tag_field="kind", tag="failed"):
    """An invocation raised; `error` is "Type: text"."""

    id: str
    error: str
    trace: str


FromWorker = Loaded | Broken | Log | Done | Failed
decoder = msgspec.json.Decoder(FromWorker)
encode = msgspec.json.encode
