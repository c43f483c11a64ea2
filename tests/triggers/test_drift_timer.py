"""Timer -> one sweep, and what it logs."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from azure.functions.timer import TimerRequest

from functions import drift_timer
from shared.domain.errors import Retry
from shared.domain.image import short
from shared.settings import sweep_schedule
from tests.fakes import World, digest


def tick() -> None:
    drift_timer.drift_timer(TimerRequest(past_due=False, schedule_status={}, schedule={}))


def test_a_sweep_finds_what_no_event_reported_and_logs_it(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.registry.tags["public", "node:15-alpine"] = digest("green")
    with caplog.at_level(logging.INFO):
        tick()
    assert len(world.candidates()) == 1
    found = f"sweep: examine, new digest: publicregistry.azurecr.io/node:15-alpine is {short(digest('green'))}"
    assert [message for message in caplog.messages if "examine" in message] == [found]


def test_an_idle_sweep_logs_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.push("15-alpine", digest("green"))
    world.settle()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        tick()
    assert caplog.messages == []


def test_a_repair_is_one_line(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.push("15-alpine", digest("green"))
    world.settle()
    world.registry.tags["base", "node:15-alpine"] = digest("foreign")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        tick()
    name = "contosobaseartifacts.azurecr.io/node:15-alpine"
    words = f"{name} is {short(digest('foreign'))}, not {short(digest('green'))}, which was promoted"
    assert caplog.messages == [f"drift repaired: {words}: put back"]


def test_a_job_that_fails_is_named_and_stops_no_other(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.tags.faults["public"] = Retry("publicregistry.azurecr.io is away")
    with caplog.at_level(logging.INFO):
        tick()
    assert "upstream.node failed publicregistry.azurecr.io is away" in caplog.text
    assert "stable.node" not in caplog.text


def test_a_sweep_ends_within_the_time_that_a_function_has() -> None:
    assert timedelta() < drift_timer.TIME_LIMIT <= timedelta(minutes=4)


@pytest.mark.parametrize(("setting", "schedule"), [("", "0 */5 * * * *"), ("0 0 * * * *", "0 0 * * * *")])
def test_the_schedule_is_a_setting(setting: str, schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASEGATE_SWEEP_SCHEDULE", setting)
    assert sweep_schedule() == schedule
