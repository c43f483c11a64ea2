"""Bodies and metadata of queue messages: from the queue to a function, and from a function to a queue."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from sandbox.host.functions import QueueTrigger
from sandbox.host.messages import Datum
from sandbox.host.queues.service import QueuedMessage


def decode_body(text: str, *, base64_encoded: bool) -> bytes:
    """The body of a message.

    Raises:
        ValueError: the encoding is base64 and the text is not, or the body is not UTF-8.
    """
    if not base64_encoded:
        return text.encode()
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"the message is not base64 (host.json: messageEncoding): {error}") from error


def encode_body(body: bytes, *, base64_encoded: bool) -> str:
    """Encode a body as the text of a queue message.

    Raises:
        ValueError: without base64, the bytes are not UTF-8.
    """
    return base64.b64encode(body).decode() if base64_encoded else body.decode()


def trigger_input(trigger: QueueTrigger, body: bytes) -> Datum:
    """The function's input: text, or bytes if the binding specifies it."""
    if trigger.data_type.upper() == "BINARY":
        return Datum("bytes", body)
    return Datum("string", body.decode())


def trigger_metadata(message: QueuedMessage, body: bytes) -> dict[str, Datum]:
    """The trigger metadata of a message.

    Top-level properties of a JSON body override those of the message, case-insensitively, as in Azure
    (azure-functions-python-worker issue 1373): a body with `id` changes `QueueMessage.id`.
    """
    text = body.decode(errors="replace")
    metadata = {
        "QueueTrigger": Datum("string", text),
        "Id": Datum("string", message.id),
        "PopReceipt": Datum("string", message.pop_receipt),
        "DequeueCount": Datum("json", str(message.dequeue_count)),
        "InsertionTime": Datum("json", json.dumps(message.inserted.isoformat(timespec="seconds"))),
        "ExpirationTime": Datum("json", json.dumps(message.expires.isoformat(timespec="seconds"))),
        "NextVisibleTime": Datum("json", json.dumps(message.next_visible.isoformat(timespec="seconds"))),
    }
    spelling = {name.lower(): name for name in metadata}
    for name, value in _properties(text).items():
        datum = Datum("string", value) if isinstance(value, str) else Datum("json", json.dumps(value))
        metadata[spelling.get(name.lower(), name)] = datum
    return metadata


def _properties(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def output_bodies(value: Datum) -> list[bytes]:
    """The messages of an output, by the host's rules.

    Bytes are sent unchanged. Text that looks like JSON is parsed: an array becomes one message per element, an object
    is serialized again, indented (azure-functions-python-worker issue 1492).

    Raises:
        ValueError: the text looks like JSON, but is invalid.
    """
    if value.type == "bytes":
        return [value.raw]
    text = str(value.value)
    if value.type != "json" and not _looks_like_json(text):
        return [text.encode()]
    parsed = json.loads(text)
    return [_written(item) for item in (parsed if isinstance(parsed, list) else [parsed])]


def _looks_like_json(text: str) -> bool:
    trimmed = text.strip()
    return (trimmed[:1], trimmed[-1:]) in (("{", "}"), ("[", "]"))


def _written(item: Any) -> bytes:
    return (item if isinstance(item, str) else json.dumps(item, indent=2, ensure_ascii=False)).encode()
