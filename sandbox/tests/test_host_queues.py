"""The host's queue triggers and outputs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox.host.messages import Datum
from sandbox.host.queues.data import output_bodies, trigger_metadata
from sandbox.host.queues.service import QueuedMessage
from sandbox.host.queues.trigger import RandomizedBackoff
from sandbox.tests.apps.running import RunningHost


@pytest.fixture
def host(tmp_path: Path) -> Iterator[RunningHost]:
    running = RunningHost(tmp_path).start()
    yield running
    running.stop()


def test_a_message_is_worked_on_deleted_and_its_result_sent(host: RunningHost) -> None:
    host.send("jobs", "one")
    host.until(lambda: host.waiting("results"))
    assert host.waiting("results") == ["done: one"]
    host.until(lambda: not host.waiting("jobs"))
    (job,) = host.noted("jobs")
    assert (job["text"], job["count"]) == ("one", 1)
    assert job["inserted"].startswith(str(datetime.now(UTC).year))


def test_a_message_that_keeps_failing_goes_to_the_poison_queue_whose_function_gets_it(host: RunningHost) -> None:
    host.send("jobs", "bad")
    host.until(lambda: host.noted("poison"))
    assert [job["count"] for job in host.noted("jobs")] == [1, 2]
    assert host.noted("poison")[0]["text"] == "bad"
    host.until(lambda: not host.waiting("jobs-poison"))
    assert not host.waiting("jobs")
    assert not host.waiting("results")


def test_a_message_whose_worker_dies_is_worked_on_again(host: RunningHost) -> None:
    host.send("jobs", "die once")
    host.until(lambda: host.waiting("results"))
    jobs = host.noted("jobs")
    assert [job["count"] for job in jobs] == [1, 2]
    assert jobs[0]["pid"] != jobs[1]["pid"]


def test_many_messages_are_worked_on_once_each(host: RunningHost) -> None:
    host.send("jobs", *[f"m{number}" for number in range(60)])
    host.until(lambda: len(host.waiting("results")) == 60)
    assert sorted(job["text"] for job in host.noted("jobs")) == sorted(f"m{number}" for number in range(60))


def test_a_json_body_overrides_the_metadata_of_its_message_as_in_azure(host: RunningHost) -> None:
    host.send("jobs", json.dumps({"id": "mine"}))
    host.until(lambda: host.noted("jobs"))
    assert host.noted("jobs")[0]["id"] == "mine"
    host.send("jobs", json.dumps({"expirationTime": "tomorrow"}))
    host.until(lambda: host.noted("poison"))
    assert len(host.noted("jobs")) == 1


def test_a_function_can_be_given_a_message_by_hand(host: RunningHost) -> None:
    assert host.admin("POST", "/admin/functions/work", json={"input": "by hand"}).status == 202
    host.until(lambda: host.waiting("results") == ["done: by hand"])


def test_a_message_in_work_when_the_host_stops_is_visible_again(tmp_path: Path) -> None:
    running = RunningHost(tmp_path, drain_seconds=0.1).start()
    running.send("jobs", "hang")
    running.until(lambda: running.noted("jobs"))
    running.stop()
    (message,) = running.queues.by_name["jobs"].messages
    assert message.next_visible <= datetime.now(UTC)


def test_a_message_stays_hidden_as_long_as_it_is_worked_on(tmp_path: Path) -> None:
    running = RunningHost(tmp_path, lease_seconds=0.3).start()
    try:
        running.send("jobs", "slow")
        running.until(lambda: running.waiting("results") and not running.waiting("jobs"))
        assert len(running.noted("jobs")) == 1
    finally:
        running.stop()


def test_a_disabled_function_leaves_its_queue_alone_but_runs_by_hand(tmp_path: Path) -> None:
    running = RunningHost(tmp_path, settings={"AzureWebJobs.work.Disabled": "true"}).start()
    try:
        assert running.request("POST", "/api/enqueue", json=["one"]).status == 200
        assert running.admin("POST", "/admin/functions/work", json={"input": "by hand"}).status == 202
        running.until(lambda: running.noted("jobs"))
        assert [job["text"] for job in running.noted("jobs")] == ["by hand"]
        assert running.waiting("jobs") == ["one"]
    finally:
        running.stop()


@pytest.mark.parametrize(
    ("value", "bodies"),
    [
        (Datum("bytes", "eyJhIjoxfQ=="), [b'{"a":1}']),
        (Datum("string", "plain"), [b"plain"]),
        (Datum("string", '{"a":1}'), [b'{\n  "a": 1\n}']),
        (Datum("string", '["x", {"a":1}]'), [b"x", b'{\n  "a": 1\n}']),
        (Datum("json", '["{\\"a\\":1}"]'), [b'{"a":1}']),
        (Datum("json", "[]"), []),
    ],
)
def test_output_values_become_messages_by_the_rules_of_the_host(value: Datum, bodies: list[bytes]) -> None:
    assert output_bodies(value) == bodies


def test_text_that_only_looks_like_json_fails_the_output() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        output_bodies(Datum("string", "{not json}"))


def test_metadata_keeps_its_spelling_when_a_body_overrides_it() -> None:
    now = datetime.now(UTC)
    message = QueuedMessage("1", "r", "", 3, now, now, now)
    metadata = trigger_metadata(message, b'{"DEQUEUECOUNT": 9, "gate": "node"}')
    assert metadata["DequeueCount"].value == "9"
    assert metadata["gate"].value == "node"
    assert metadata["Id"].value == "1"


def test_the_wait_at_an_empty_queue_grows_from_a_tenth_of_a_second_to_its_maximum() -> None:
    backoff = RandomizedBackoff(5.0)
    waits = [backoff.next_seconds() for _ in range(12)]
    assert waits[0] == 0.1
    assert 0.1 < waits[1] < waits[3] < waits[5]
    assert waits[-1] == 5.0
    backoff.reset()
    assert backoff.next_seconds() == 0.1
