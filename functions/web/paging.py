"""What a list is asked with: how many, from where, of which state, and of which time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import azure.functions as func
import msgspec

from shared.domain.errors import Malformed
from shared.ports import Only
from shared.workflow.report import PAGE_LIMIT

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


def page_of(req: func.HttpRequest, states: Iterable[str] = ()) -> tuple[int, str, Only]:
    """The limit, the token and the filter of a list; `states` are those that it may be asked for.

    Raises:
        Malformed: names the parameter that is not right.
    """
    only = Only(state=_state(req, tuple(states)), since=_moment(req, "since"), until=_moment(req, "until"))
    return _limit(req), req.params.get("token", ""), only


def _limit(req: func.HttpRequest) -> int:
    text = req.params.get("limit", str(PAGE_LIMIT))
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= PAGE_LIMIT):
        raise Malformed("limit", f"must be a number from 1 to {PAGE_LIMIT}")
    return int(text)


def _state(req: func.HttpRequest, states: tuple[str, ...]) -> str:
    state = req.params.get("state")
    if state is not None and state not in states:
        known = f"must be one of {', '.join(states)}" if states else "this list has no states"
        raise Malformed("state", f"{known}, not {state[:40]!r}")
    return state or ""


def _moment(req: func.HttpRequest, name: str) -> datetime | None:
    text = req.params.get(name)
    if text is None:
        return None
    try:
        return msgspec.convert(text, _Moment)
    except msgspec.ValidationError:
        hint = " (a + in a URL is written %2B)" if " " in text else ""
        problem = f"{text[:40]!r} is no RFC 3339 time with its offset, like 2026-03-01T12:00:00Z{hint}"
        raise Malformed(name, problem) from None
