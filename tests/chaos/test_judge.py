"""The judge sees what is wrong, each in a small run that is right but for that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec
import pytest

from sandbox.testing import ProcessKind
from tests.chaos.judge import Seen, unfinished, violations
from tests.chaos.pushes import Push
from tests.chaos.sampling import TagReading
from tests.chaos.victims import drawn

OLD, BAD, NEW = (f"sha256:{letter * 64}" for letter in "abc")
TAG = "15-a"


def attempt(digest: str, state: str, at: float, *, log: str = "") -> dict[str, Any]:
    said = [{"evidence": {"log_tail": [log]}}, {"evidence": None}]
    history = [{"at": datetime.fromtimestamp(at, UTC).isoformat(), "what": state, "why": ""}]
    row = f"{digest.removeprefix('sha256:')}-001"
    return {
        "id": f"node.{row}",
        "digest": digest,
        "state": state,
        "reason": "",
        "checks": said,
        "history": history,
    }


def outcome(name: str, digest: str) -> dict[str, Any]:
    return {"type": f"Basegate.{name}", "subject": f"gates/node/candidates/{digest.removeprefix('sha256:')}-001"}


RIGHT = Seen(
    pushes=[
        Push(tag=TAG, digest=OLD, colour="Green", since=1.0, until=100.0),
        Push(tag=TAG, digest=BAD, colour="Red", since=101.0, until=200.0),
        Push(tag=TAG, digest=NEW, colour="Green", since=201.0),
    ],
    readings=[TagReading(20.0, TAG, OLD), TagReading(220.0, TAG, NEW)],
    candidates=[
        attempt(OLD, "passed", 19.0),
        attempt(BAD, "failed", 120.0, log="ERROR: Invalid Color: Red"),
        attempt(NEW, "passed", 219.0),
    ],
    heard=[outcome("CandidatePassed", OLD), outcome("CandidateFailed", BAD), outcome("CandidatePassed", NEW)],
    stay_seconds=60.0,
    now=300.0,
)


def test_a_run_that_is_right_has_no_violation() -> None:
    assert violations(RIGHT) == []
    assert len(RIGHT.stayed) == 3


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: {"candidates": RIGHT.candidates[:2]}, "the ledger has no verdict: no record"),
        (
            lambda: {"candidates": [*RIGHT.candidates[:2], attempt(NEW, "superseded", 219.0)]},
            "the ledger has no verdict: superseded",
        ),
        (
            lambda: {"candidates": [*RIGHT.candidates, attempt(BAD, "passed", 130.0)]},
            "is passed, and the image is Red",
        ),
        (
            lambda: {"candidates": [*RIGHT.candidates, attempt(NEW, "failed", 230.0, log="ERROR: Invalid Node")]},
            "is failed, and the image is Green",
        ),
        (lambda: {"readings": [TagReading(18.0, TAG, OLD), *RIGHT.readings[1:]]}, "which passed at"),
        (
            lambda: {"readings": [*RIGHT.readings[:1], TagReading(150.0, TAG, BAD), RIGHT.readings[1]]},
            "which never passed",
        ),
        (lambda: {"readings": [*RIGHT.readings, TagReading(240.0, TAG, OLD)]}, "went back to sha256:a"),
        (lambda: {"readings": RIGHT.readings[:1]}, "the stable tag points to sha256:a"),
        (lambda: {"heard": RIGHT.heard[:2]}, "the listener never received CandidatePassed"),
    ],
)
def test_what_does_not_hold_is_named(wrong: Callable[[], dict[str, Any]], said: str) -> None:
    found = violations(msgspec.structs.replace(RIGHT, **wrong()))
    assert any(said in line for line in found), found


def test_a_digest_that_was_there_for_a_moment_needs_no_verdict() -> None:
    first = Push(tag=TAG, digest=f"sha256:{'d' * 64}", colour="Green", since=1.0, until=5.0)
    assert violations(msgspec.structs.replace(RIGHT, pushes=[first, *RIGHT.pushes])) == []


def test_a_run_goes_on_until_what_is_under_the_tags_has_its_verdict_and_is_heard_of() -> None:
    assert unfinished(RIGHT) == []
    early = msgspec.structs.replace(RIGHT, candidates=RIGHT.candidates[1:2], readings=RIGHT.readings[:1], now=202.0)
    assert [line.rpartition(": ")[2] for line in unfinished(early)] == ["no record"], "what has left its tag is past"
    unmoved = msgspec.structs.replace(RIGHT, readings=RIGHT.readings[:1], heard=RIGHT.heard[:2])
    assert len(unfinished(unmoved)) == 2


def test_a_good_image_may_fail_with_a_run_that_was_harmed_and_is_counted() -> None:
    failed = attempt(NEW, "failed", 219.0, log="manifest unknown")
    heard = [*RIGHT.heard, outcome("CandidateFailed", NEW)]
    harmed = msgspec.structs.replace(
        RIGHT, candidates=[*RIGHT.candidates[:2], failed], readings=RIGHT.readings[:1], heard=heard
    )
    assert violations(harmed) == []
    assert harmed.harmed == 1


def test_every_kind_of_process_is_killed_and_a_seed_draws_the_same_again() -> None:
    assert set(drawn(len(ProcessKind), Random(1))) == set(ProcessKind)
    assert drawn(200, Random(7)) == drawn(200, Random(7)) != drawn(200, Random(8))
