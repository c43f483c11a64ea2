"""What an answer of a registry makes of an observation, as a table."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from shared.domain.image import Tag
from shared.domain.observation import RETURNS_AN_HOUR, Change, Expectation, Observation
from tests.fakes import START, digest

A, B, C = digest("a"), digest("b"), digest("c")
NOW, INTERVAL = START, 300.0
BEFORE, LONG_BEFORE = NOW - timedelta(seconds=10), NOW - timedelta(seconds=INTERVAL)


def observation(**changes: Any) -> Observation:
    standing: dict[str, Any] = {"digest": B, "sequence": 2, "earlier": (A,)}
    return Observation(gate="node", tag=Tag("15-alpine"), **(standing | changes))


DOUBTED, DOUBTED_LONG = {"doubted": A, "doubted_at": BEFORE}, {"doubted": A, "doubted_at": LONG_BEFORE}
FLAPPING = {"returned_at": (BEFORE,) * RETURNS_AN_HOUR}


@pytest.mark.parametrize(
    ("before", "answer", "expected", "change", "after"),
    [
        (observation(digest=None, sequence=0, earlier=()), A, None, Change.NEW, A),
        (observation(digest=None, sequence=0, earlier=()), None, None, Change.NONE, None),
        (observation(), B, None, Change.NONE, B),
        (observation(), B, A, Change.NONE, B),
        (observation(), C, None, Change.NEW, C),
        (observation(), A, None, Change.DOUBTED, B),
        (observation(), A, C, Change.DOUBTED, B),
        (observation(), A, A, Change.RETURNED, A),
        (observation(**DOUBTED), A, None, Change.NONE, B),
        (observation(**DOUBTED), A, A, Change.RETURNED, A),
        (observation(**DOUBTED_LONG), A, None, Change.RETURNED, A),
        (observation(**DOUBTED), B, None, Change.SETTLED, B),
        (observation(**DOUBTED), C, None, Change.NEW, C),
        (observation(earlier=(A, C), **DOUBTED_LONG), C, None, Change.DOUBTED, B),
        (observation(**FLAPPING), A, A, Change.DOUBTED, B),
        (observation(**FLAPPING, **DOUBTED_LONG), A, None, Change.NONE, B),
        (observation(**FLAPPING), C, None, Change.NEW, C),
        (observation(returned_at=(NOW - timedelta(hours=1),) * 9), A, A, Change.RETURNED, A),
        (observation(), None, None, Change.MISSED, B),
        (observation(missed_at=NOW), None, None, Change.NONE, B),
        (observation(missed_at=BEFORE), None, None, Change.ABSENT, B),
        (observation(missed_at=BEFORE, **DOUBTED), None, None, Change.ABSENT, B),
        (observation(missed_at=BEFORE), B, None, Change.SETTLED, B),
        (observation(missed_at=BEFORE), C, None, Change.NEW, C),
        (observation(missed_at=BEFORE, absent=True), None, None, Change.NONE, B),
        (observation(missed_at=BEFORE, absent=True), B, None, Change.BACK, B),
        (observation(missed_at=BEFORE, absent=True), C, None, Change.NEW, C),
    ],
)
def test_what_an_answer_means(before: Observation, answer: Any, expected: Any, change: Change, after: Any) -> None:
    seen, meaning = before.read(answer, NOW, INTERVAL, expected)
    assert (meaning, seen.digest) == (change, after)
    assert (seen == before) is (change is Change.NONE)


@pytest.mark.parametrize("before", [observation(**DOUBTED), observation(missed_at=BEFORE, absent=True)])
@pytest.mark.parametrize("answer", [B, C])
def test_a_digest_that_is_read_ends_every_doubt(before: Observation, answer: Any) -> None:
    seen, _ = before.read(answer, NOW, INTERVAL)
    assert (seen.doubted, seen.doubted_at, seen.missed_at, seen.absent) == (None, None, None, False)


def test_of_a_tag_that_is_gone_nothing_is_doubted() -> None:
    seen, _ = observation(missed_at=BEFORE, **DOUBTED).read(None, NOW, INTERVAL)
    assert (seen.doubted, seen.doubted_at, seen.absent) == (None, None, True)


def test_a_tag_that_returned_remembers_where_it_was() -> None:
    seen, _ = observation().read(A, NOW, INTERVAL, A)
    assert seen.earlier == (B,)
    assert seen.returned_at == (NOW,)
    assert seen.first_seen == NOW


def test_a_tag_that_is_forgotten_is_news_again_under_a_higher_number() -> None:
    seen, meaning = observation(first_seen=BEFORE).forgotten().read(B, NOW, INTERVAL)
    assert (meaning, seen.sequence, seen.digest) == (Change.RETURNED, 2, B)


def test_the_last_twenty_unread_digests_are_kept_and_all_are_counted() -> None:
    record = observation()
    for number in range(50):
        record = record.with_expectation(Expectation(digest=digest(str(number)), event=f"event-{number}", at=NOW))
    assert record.unread == 50
    assert [one.event for one in record.expectations] == [f"event-{number}" for number in range(30, 50)]
