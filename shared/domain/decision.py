"""A decision: the one next step of a record, when it is due, and why."""

from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

import msgspec

from shared.domain.record import Record, seconds_between

T = TypeVar("T")

ADOPTION_GRACE_SECONDS = 5.0
"""How long a claimed run may take to get its id before it is looked for: a healthy start takes a second or two."""


class Action(StrEnum):
    """One step. Those on a check carry its index in `Decision.index`."""

    START_CHECK = "start check"
    ADOPT_CHECK = "adopt check"
    WATCH_CHECK = "watch check"
    EXAMINE_ANEW = "examine anew"
    PASS = "pass"  # noqa: S105 (a word, no secret)

    AWAIT_VERDICT = "await verdict"
    COPY = "copy"
    WATCH_COPY = "watch copy"
    LOCK = "lock"
    MOVE_STABLE_TAG = "move stable tag"
    RECORD_TASK_PROMOTION = "record task promotion"
    ROLL_OUT = "roll out"

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

    RULE_REMOVED = "rule removed"
    FAIL = "fail"
    ANNOUNCE = "announce"
    WAIT = "wait"
    DONE = "done"


class Decision(msgspec.Struct, frozen=True):
    """What to do, on which check, and why.

    `wait_seconds` is how long to leave the record alone before the work item that does it; a work item that arrives
    does it at once.
    """

    action: Action
    reason: str
    wait_seconds: float = 0.0
    index: int = 0


def after_the_end(record: Record) -> Decision:
    """What is left to do with a settled record: announce its outcome, and bring up what waits for it."""
    if record.announced:
        return Decision(Action.DONE, "settled and announced")
    return Decision(Action.ANNOUNCE, "announce the outcome")


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
