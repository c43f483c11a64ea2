"""Event Grid's drills: deliveries that are off, lost, doubled or shuffled, and the switch for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox import events
from sandbox.__main__ import main
from sandbox.eventgrid.faults import Faults, FaultSettings
from sandbox.events import OFF, ON, event_counts, event_settings, switch_events
from sandbox.lifecycle import SandboxError
from sandbox.tests.eventgrid_client import REGISTRY, EventGridClient, dead_letters, pushed, wait_until
from sandbox.tests.live import LiveGateway


@pytest.fixture
def client(live: LiveGateway) -> Iterator[EventGridClient]:
    """Event Grid with seconds made milliseconds, found from outside as a running instance."""
    yield from _client(live, time_scale=1000)


@pytest.fixture
def slow_client(live: LiveGateway) -> Iterator[EventGridClient]:
    """The same with tenths of seconds: the first retry comes after one, which leaves time to do something before."""
    yield from _client(live, time_scale=10)


def _client(live: LiveGateway, time_scale: float) -> Iterator[EventGridClient]:
    client = EventGridClient(live, time_scale)
    yield client
    client.close()


def test_drills_lose_and_double_deliveries_as_told(client: EventGridClient) -> None:
    client.subscribe()
    assert client.live.ask("PUT", "/eventgrid/faults", {"drop": 2})[0] == 400
    disturb(client, drop=0.3, duplicate=0.3, seed=7)
    client.live.run(client.grid.publish(REGISTRY, [pushed(number) for number in range(40)]))
    wait_until(lambda: client.counts()["waiting"] == 0)
    counts = client.counts()
    assert 0 < counts["lost_by_fault"] < 40
    assert 0 < counts["doubled_by_fault"] < 40
    expected = 40 - counts["lost_by_fault"] + counts["doubled_by_fault"]
    wait_until(lambda: client.counts()["delivered"] == expected)
    assert len(client.hook.ids) == expected
    assert len(set(client.hook.ids)) == 40 - counts["lost_by_fault"]


def disturb(client: EventGridClient, **settings: Any) -> None:
    assert client.live.ask("PUT", "/eventgrid/faults", settings)[0] == 200


def test_while_deliveries_are_off_events_are_dropped_and_never_come_later(
    client: EventGridClient, caplog: pytest.LogCaptureFixture
) -> None:
    client.subscribe()
    disturb(client, off=True)
    client.live.run(client.grid.publish(REGISTRY, [pushed(1), pushed(2)]))
    wait_until(lambda: client.counts()["dropped"] == 2)
    disturb(client)
    client.live.run(client.grid.publish(REGISTRY, [pushed(3)]))
    wait_until(lambda: client.counts()["delivered"] == 1)
    assert client.hook.ids == ["event-3"]
    counts = client.counts()
    assert (counts["published"], counts["refused_while_off"], counts["waiting"]) == (3, 2, 0)
    assert "Dropped event event-1" in caplog.text


def test_an_event_that_waits_for_its_next_attempt_is_dropped_too_once_deliveries_are_off(
    slow_client: EventGridClient,
) -> None:
    slow_client.subscribe()
    slow_client.hook.responses = [503]
    slow_client.live.run(slow_client.grid.publish(REGISTRY, [pushed()]))
    wait_until(lambda: len(slow_client.hook.received) == 1)
    disturb(slow_client, off=True)
    wait_until(lambda: slow_client.counts()["dropped"] == 1)
    assert len(slow_client.hook.received) == 1


def test_while_deliveries_are_off_a_subscription_with_dead_letters_keeps_its_events_there(
    client: EventGridClient,
) -> None:
    client.subscribe(deadLetterDestination=dead_letters())
    disturb(client, off=True)
    client.live.run(client.grid.publish(REGISTRY, [pushed()]))
    wait_until(lambda: client.counts()["dead_lettered"] == 1)
    (letters,) = client.storage.blobs.values()
    assert letters[0]["deadLetterReason"] == "UndeliverableDueToClientError"
    assert client.hook.received == []


def test_with_a_seed_the_same_events_share_the_same_fate_whatever_goes_to_others() -> None:
    def fates(others: int) -> list[int]:
        faults = Faults()
        faults.set(FaultSettings(drop=0.3, duplicate=0.3, seed=7))
        drawn = []
        for _ in range(50):
            for _ in range(others):
                faults.delays("/others")
            drawn.append(len(faults.delays("/Images")))
        return drawn

    assert fates(0) == fates(3)
    assert set(fates(0)) == {0, 1, 2}


def test_shuffled_events_overtake_each_other(client: EventGridClient) -> None:
    client.subscribe()
    disturb(client, shuffle_seconds=0.2, seed=1)
    client.live.run(client.grid.publish(REGISTRY, [pushed(number) for number in range(12)]))
    wait_until(lambda: client.counts()["delivered"] == 12)
    assert client.hook.ids != [f"event-{number}" for number in range(12)]


def test_the_switch_works_from_python_and_tells_what_it_does_not_take(client: EventGridClient) -> None:
    instance = client.live.instance
    client.subscribe()
    switch_events(instance, OFF)
    assert event_settings(instance) == OFF
    client.live.run(client.grid.publish(REGISTRY, [pushed(1)]))
    wait_until(lambda: event_counts(instance).dropped == 1)
    switch_events(instance, ON)
    client.live.run(client.grid.publish(REGISTRY, [pushed(2)]))
    wait_until(lambda: event_counts(instance).delivered == 1)
    with pytest.raises(SandboxError, match=r"refuses PUT /eventgrid/faults: .*drop"):
        switch_events(instance, FaultSettings(drop=7))


def command(client: EventGridClient, *arguments: str) -> int:
    return main(("--state", str(client.live.instance.root), "events", *arguments))


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "running_pid", lambda instance: os.getpid())


@pytest.mark.usefixtures("running")
def test_the_command_switches_deliveries_and_tells_how_many(
    client: EventGridClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.subscribe()
    assert command(client, "off") == 0
    client.live.run(client.grid.publish(REGISTRY, [pushed()]))
    wait_until(lambda: client.counts()["dropped"] == 1)
    assert command(client, "status") == command(client, "on") == 0
    counted = "  since the start: published 1, delivered 0, dropped 1, doubled 0, dead-lettered 0, waiting 0\n"
    printed = (
        f"event delivery is off: events are dropped, as for a stopped app\n{counted}event delivery is on\n{counted}"
    )
    assert capsys.readouterr().out.endswith(printed)


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("arguments", "settings", "said"),
    [
        ([], FaultSettings(drop=0.3, duplicate=0.3), "30% dropped, 30% doubled, shuffled within 0 s, seed none"),
        (
            ["--drop", "10", "--double", "0", "--shuffle", "--seed", "7"],
            FaultSettings(drop=0.1, shuffle_seconds=5, seed=7),
            "10% dropped, 0% doubled, shuffled within 5 s, seed 7",
        ),
        (["--shuffle", "0.5"], FaultSettings(drop=0.3, duplicate=0.3, shuffle_seconds=0.5), "shuffled within 0.5 s"),
    ],
)
def test_lossy_takes_percent_and_a_seed(
    client: EventGridClient,
    arguments: list[str],
    settings: FaultSettings,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(client, "lossy", *arguments) == 0
    assert event_settings(client.live.instance) == settings
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sideways"], "invalid choice: 'sideways'"),
        (["lossy", "--drop", "101"], "'101' is not a percentage: 0 to 100"),
        (["lossy", "--shuffle", "soon"], "'soon' is not a number of seconds: 0 to 3600"),
    ],
)
def test_wrong_arguments_are_told(
    arguments: list[str], said: str, client: EventGridClient, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command(client, *arguments)
    assert said in capsys.readouterr().err


def test_an_option_of_lossy_with_another_mode_is_told(
    client: EventGridClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(client, "off", "--seed", "7") == 1
    assert capsys.readouterr().err == "sandbox: --seed belongs to `events lossy`, not to `events off`\n"


def test_the_switch_of_what_does_not_run_is_told(client: EventGridClient, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(client, "off") == 1
    assert capsys.readouterr().err == f"sandbox: no sandbox runs in {client.live.instance.root}\n"
