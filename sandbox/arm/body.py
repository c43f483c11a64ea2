"""Request bodies of Azure Resource Manager."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from sandbox.web import Fault, explained

T = TypeVar("T")


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """A JSON object of a request; an unknown field is an error that names it."""


class ResourceBody(Body, frozen=True, kw_only=True):
    """A resource as sent by clients; these fields are read-only and ignored, since clients send back what they got."""

    id: str | None = None
    name: str | None = None
    type: str | None = None
    system_data: dict[str, Any] | None = None


def convert(body: dict[str, Any], kind: type[T], what: str) -> T:
    """A JSON object converted to `kind`: `what` after a PATCH.

    Raises:
        Fault: 400 that names the invalid field.
    """
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        message = f"The {what} after this change would be invalid: {explained(error)}"
        raise Fault(400, "InvalidRequestContent", message) from error


def region(location: str | None) -> str:
    """A location as Azure stores it: `East US` is `eastus`.

    Raises:
        Fault: 400 LocationRequired if it is missing.
    """
    if not location:
        raise Fault(400, "LocationRequired", "The location property is required for this definition.")
    return location.lower().replace(" ", "")
