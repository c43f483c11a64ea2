"""What there is to say of a call of the HTTP interface: `reads.py` and `acts.py` say it of every one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from functions.web.bodies import Asked
from functions.web.principal import Role


class Body(StrEnum):
    """What an answer is, where it is no JSON of a known shape."""

    LOG = "log"
    DOCUMENT = "document"


@dataclass(frozen=True, kw_only=True)
class Read:
    """A call that reads. `states`, where it has any, are those that a list may be asked for; `paged` says it is one."""

    path: str
    summary: str
    answer: type | Body
    more: str = ""
    paged: bool = False
    states: tuple[str, ...] = ()
    flags: Mapping[str, str] = field(default_factory=dict)
    etag: bool = False
    also: Mapping[int, str] = field(default_factory=dict)
    """Other statuses with the same kind of answer."""

    open: bool = False
    """Whether it is answered without a key."""


@dataclass(frozen=True, kw_only=True)
class Act:
    """A call that acts; `examples` are bodies by what they are an example of."""

    method: str
    path: str
    summary: str
    body: type[Asked]
    examples: Mapping[str, Mapping[str, Any]]
    more: str = ""
    role: Role = Role.OPERATOR
