"""Differences of Azurite's tables from Azure's: requests are corrected or rejected before they reach Azurite.

Source: https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model,
https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions
"""

from __future__ import annotations

import json
import re

from aiohttp import web

from sandbox.web import Fault

_BODY_LIMIT_BYTES = 4 * 1024 * 1024
_ENTITY_LIMIT_BYTES = 1024 * 1024
_PROPERTY_LIMIT = 255
_BATCH_LIMIT = 100
_OPERATION = re.compile(rb"(?m)^((?:GET|POST|PUT|PATCH|MERGE|DELETE) https?://[^/\s]+)/")


async def limited_body(request: web.BaseRequest) -> bytes:
    """The body of a request to the table service. An entity group transaction may have 4 MiB, nothing more.

    Raises:
        Fault: 413 RequestBodyTooLarge; what follows is not kept.
    """
    body, size = bytearray(), request.content_length or 0
    while size <= _BODY_LIMIT_BYTES and (chunk := await request.content.readany()):
        body += chunk
        size = max(size, len(body))
    if size > _BODY_LIMIT_BYTES:
        message = "The request body is too large and exceeds the maximum permissible limit."
        raise Fault(413, "RequestBodyTooLarge", message)
    return bytes(body)


def rewrite_batch(body: bytes, account: str) -> bytes:
    """Rewrite an entity group transaction for Azurite.

    Azurite 3.37 finds the table of an inner request only in path-style URLs (`/account/table`); for product-style
    URLs, it returns an empty 500.

    Raises:
        Fault: 400 InvalidInput if it has more than 100 operations, or none.
    """
    operations = len(_OPERATION.findall(body))
    if not 0 < operations <= _BATCH_LIMIT:
        raise Fault(400, "InvalidInput", f"A batch takes 1 to {_BATCH_LIMIT} operations, not {operations}.")
    return _OPERATION.sub(rb"\1/" + account.encode() + b"/", body)


def check_entity(body: bytes) -> None:
    """Reject an entity that Azure would reject but Azurite stores.

    Raises:
        Fault: 400 EntityTooLarge (over 1 MiB) or TooManyProperties (over 255, keys and timestamp included).
    """
    if len(body) > _ENTITY_LIMIT_BYTES:
        raise Fault(400, "EntityTooLarge", "The entity is larger than the maximum allowed size (1MB).")
    try:
        entity = json.loads(body)
    except (ValueError, RecursionError):
        return  # Azurite reports the error
    names = [name for name in entity if "@odata" not in name] if isinstance(entity, dict) else []
    if len(names) > _PROPERTY_LIMIT:
        raise Fault(400, "TooManyProperties", f"The entity has more properties than allowed ({_PROPERTY_LIMIT}).")
