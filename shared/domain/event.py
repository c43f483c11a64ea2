"""Registry events as Event Grid delivers them, in both of its schemas, parsed into one type; and the hints they become.

Source: https://learn.microsoft.com/azure/event-grid/event-schema-container-registry
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from shared.domain.errors import Malformed
from shared.domain.image import Digest, Repository, Tag, parse_digest, parse_repository, parse_tag

_PREFIX = "Microsoft.ContainerRegistry."


class EventKind(StrEnum):
    """What happened to the image."""

    PUSHED = "ImagePushed"
    DELETED = "ImageDeleted"


class RegistryEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A push or a delete of one manifest in one registry. It is only a hint: the facts are read from the registry.

    `registry_id` is the registry's ARM id in lower case; `tag` is absent from deletes and from pushes by digest
    (e.g. the children of an index).
    """

    kind: EventKind
    event_id: str
    registry_id: str
    repository: Repository
    digest: Digest
    tag: Tag | None = None


class IrrelevantEvent(Malformed):
    """A well-formed event that does not concern this app (a chart, another kind of resource)."""


def parse_event(payload: object) -> RegistryEvent:
    """The registry event in a delivered payload: Event Grid schema or CloudEvents 1.0.

    Raises:
        IrrelevantEvent: its type is not an image push or delete.
        Malformed: a field is missing or wrong; the error names it.
    """
    event = _mapping(payload, "event")
    kind = _kind(event)
    data = _mapping(event.get("data"), "data")
    target = _mapping(data.get("target"), "data.target")
    tag = target.get("tag")
    return RegistryEvent(
        kind=kind,
        event_id=_text(event.get("id"), "id"),
        registry_id=_text(event.get("topic", event.get("source")), "topic").lower(),
        repository=parse_repository(target.get("repository"), "data.target.repository"),
        digest=parse_digest(target.get("digest"), "data.target.digest"),
        tag=None if tag in (None, "") else parse_tag(tag, "data.target.tag"),
    )


def _kind(event: Mapping[str, Any]) -> EventKind:
    name = _text(event.get("eventType", event.get("type")), "eventType").removeprefix(_PREFIX)
    try:
        return EventKind(name)
    except ValueError:
        raise IrrelevantEvent("eventType", f"{name[:80]!r} is not an image push or delete") from None


def _mapping(value: object, field: str) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise Malformed(field, "is missing or not an object")


def _text(value: object, field: str) -> str:
    if isinstance(value, str) and value and value.isprintable():
        return value
    raise Malformed(field, "is missing or not a printable text")


class HintKind(StrEnum):
    """What is to be read."""

    SOURCE_TAG = "source tag"
    """`subject` is a gate, `tag` one of its source."""

    APP_IMAGE = "app image"
    """`subject` is an app, `tag` one of the repository that its images are pushed to."""

    STABLE_TAGS = "stable tags"
    """`subject` is a gate: something was deleted from its target repository, or pushed there around the gate."""


class Hint(msgspec.Struct, frozen=True, kw_only=True):
    """Read this tag now.

    `expected` is the digest that an event named, `event` the id of that event, `tries` how often another digest was
    read since; `again` says that this reading was planned after an earlier one.
    The field names avoid those that the Functions host reserves (`id`, `dequeueCount`, …).
    """

    hint: HintKind
    subject: str
    tag: str = ""
    expected: str = ""
    event: str = ""
    tries: int = 0
    again: bool = False
