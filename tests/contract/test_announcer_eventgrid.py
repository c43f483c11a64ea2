"""Outcomes that are told to a topic."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from demo import scenario
from demo.outcomes import Outcomes
from sandbox.testing import until
from shared.adapters.listeners.topic import Topic
from shared.domain.errors import BasegateError
from shared.domain.outcome import Outcome
from tests.contract.place import Place

ENDPOINT = f"https://{scenario.TOPIC}.{scenario.LOCATION}-1.eventgrid.azure.net/api/events"
OUTCOME = Outcome(
    name="CandidateFailed",
    subject="node/15-alpine",
    data={"reason": "Größe", "logTail": ["a", "b"]},
    id="c0ffee",
    at=datetime(2026, 3, 1, 12, tzinfo=UTC),
)


@pytest.fixture
def outcomes(place: Place) -> Iterator[Outcomes]:
    outcomes = Outcomes(place.azure)
    yield outcomes
    outcomes.close()


def test_an_outcome_arrives_as_a_cloud_event_in_a_queue_that_subscribed(
    place: Place, outcomes: Outcomes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        Topic({"BASEGATE_ANNOUNCE_TOPIC": ENDPOINT}, place.credential, str).announce(OUTCOME)
    assert caplog.records == [], "an operator at night reads this log"
    event: dict[str, Any] = until(lambda: outcomes.find("CandidateFailed", 0))
    assert event["specversion"] == "1.0"
    assert (event["source"], event["subject"]) == ("basegate", "node/15-alpine")
    assert event["data"] == {"reason": "Größe", "logTail": ["a", "b"]}
    assert event["id"] == "c0ffee", "it is the same each time"
    assert event["time"].startswith("2026-03-01T12:00:00")


def test_a_topic_that_is_not_there_is_named_by_what_was_announced(place: Place) -> None:
    endpoint = ENDPOINT.replace(scenario.TOPIC, "no-such-topic")
    nowhere = Topic({"BASEGATE_ANNOUNCE_TOPIC": endpoint}, place.credential, str)
    with pytest.raises(BasegateError, match="announcing CandidateFailed"):
        nowhere.announce(OUTCOME)
