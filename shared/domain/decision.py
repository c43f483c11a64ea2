"""A decision: the one next step of a record, when it is due, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

import msgspec

from shared.domain.record import Record, seconds_between

T = TypeVar("T")

ADOPTION_GRACE_SECONDS = 5.0
"""How long a claimed run may take to get its id before it is looked for: a healthy start takes a second or two."""

STEP_ATTEMPTS = 8
"""How many looks in a row may fail before the record does."""

STANDSTILL_LIMIT_SECONDS = 86_400.0
"""No record waits for longer than a day without a line of history: whatever it waits for is not coming."""


class Action(StrEnum):
    """One step. Those on a check or a tag carry its index in `Decision.index`."""

    START_CHECK = "start check"
    ADOPT_CHECK = "adopt check"
    WATCH_CHECK = "watch check"
    RESTART_CHECKS = "restart checks"
    RECHECK_SOURCE = "recheck source"
    COPY = "copy"
    WATCH_COPY = "watch copy"
    LOCK = "lock"
    MOVE_STABLE = "move stable"
    RECORD_TASK_PROMOTION = "record task promotion"
    ROLL_OUT = "roll out"
    FINISH = "finish"

    TRACE_BUILD = "trace build"
    START_BUILD = "start build"
    ADOPT_BUILD = "adopt build"
    WATCH_BUILD = "watch build"
    REBUILD = "rebuild"
    DEPLOY = "deploy"
    VERIFY = "verify"
    RESTORE = "restore"
    VERIFY_RESTORED = "verify restored"
    SUPERSEDE = "supersede"

    FAIL = "fail"
    ANNOUNCE = "announce"
    WAIT = "wait"
    DONE = "done"


class Decision(msgspec.Struct, frozen=True):
    """What to do, on which check or tag, and why.

    `wait_seconds` is how long to leave the record alone before the look that does it; a look that arrives
    does it at once.
    """

    action: Action
    reason: str
    wait_seconds: float = 0.0
    index: int = 0


def after_the_end(record: Record) -> Decision:
    """What is left to do with a finished record: tell its outcome."""
    if record.announced:
        return Decision(Action.DONE, "finished and told")
    return Decision(Action.ANNOUNCE, "tell the outcome")


def outlived(record: Record, now: datetime) -> Decision | None:
    """The end of a record that stood still for too long, or None. One that was taken up again begins to count anew."""
    moved_at = record.history[-1].at if record.history else record.created_at
    if seconds_between(moved_at, now) <= STANDSTILL_LIMIT_SECONDS:
        return None
    return Decision(Action.FAIL, f"nothing moved it for {STANDSTILL_LIMIT_SECONDS / 3600:.0f} h")


def await_run_id(claimed_at: datetime, adopt: Action, now: datetime, index: int = 0) -> Decision:
    """What to do about a run that was claimed and has no id: leave its starter a moment, then look for it.

    Either a worker is starting it this very moment, or one died between the start and the record of it.
    """
    age = seconds_between(claimed_at, now)
    if age < ADOPTION_GRACE_SECONDS:
        return Decision(Action.WAIT, "a worker may be starting the run", ADOPTION_GRACE_SECONDS - age, index)
    return Decision(adopt, f"claimed {age:.0f} s ago and never started as far as the ledger knows", 0.0, index)


def first(items: Iterable[T], wanted: Callable[[T], bool]) -> int | None:
    """The index of the first item that is wanted, or None."""
    return next((index for index, item in enumerate(items) if wanted(item)), None)
