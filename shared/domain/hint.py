"""A hint: a queue message that says where to look. It carries no facts."""

from enum import StrEnum

import msgspec


class HintKind(StrEnum):
    """What is to be looked at."""

    SOURCE_TAG = "source tag"
    """`subject` is a gate, `tag` one of its source."""

    APP_IMAGE = "app image"
    """`subject` is an app, `tag` one of the repository that it is built into."""

    STABLE_TAGS = "stable tags"
    """`subject` is a gate: something was deleted from, or pushed around the gate into, its target repository."""


class Hint(msgspec.Struct, frozen=True, kw_only=True):
    """Look at this tag now.

    `expected` is the digest that an event named, `event` that event's id, `tries` how often another digest was read
    since, `again` that this look was planned after an earlier one.
    The field names avoid those that the Functions host keeps for itself (`id`, `dequeueCount`, …).
    """

    hint: HintKind
    subject: str
    tag: str = ""
    expected: str = ""
    event: str = ""
    tries: int = 0
    again: bool = False
