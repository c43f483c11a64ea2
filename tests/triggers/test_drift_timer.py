"""Timer -> one sweep, told in the log."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from azure.functions.timer import TimerRequest

from functions import drift_timer
from shared.domain.errors import Retry
from shared.settings import sweep_schedule
from tests.fakes import World, digest


def test_a_sweep_finds_what_no_event_told_and_says_so(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.registry.tags["public", "node:15-alpine"] = digest("green")
    with caplog.at_level(logging.INFO):
        drift_timer.drift_timer(TimerRequest(past_due=False, schedule_status={}, schedule={}))
    assert len(world.candidates()) == 1
    assert "sweep: examine, new digest: publicregistry.azurecr.io/node:15-alpine is sha256:" in caplog.text
    assert "all done" in caplog.text


def test_a_beat_that_fails_is_named_and_stops_no_other(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.tags.faults["public"] = Retry("publicregistry.azurecr.io is away")
    with caplog.at_level(logging.INFO):
        drift_timer.drift_timer(TimerRequest(past_due=False, schedule_status={}, schedule={}))
    assert "upstream.node failed publicregistry.azurecr.io is away" in caplog.text
    assert "stable.node" not in caplog.text


def test_a_sweep_ends_within_the_time_that_a_function_has() -> None:
    assert timedelta() < drift_timer.TIME_LIMIT <= timedelta(minutes=4)


@pytest.mark.parametrize(("setting", "schedule"), [("", "0 */5 * * * *"), ("0 0 * * * *", "0 0 * * * *")])
def test_the_schedule_is_a_setting(setting: str, schedule: str) -> None:
    assert sweep_schedule({"BASEGATE_SWEEP_SCHEDULE": setting}) == schedule
