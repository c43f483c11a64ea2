"""The host's timers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox.host.errors import Misconfigured
from sandbox.host.timer_trigger import Schedule, ScheduleStatus
from sandbox.store import Collection
from sandbox.tests.apps.running import RunningHost

_FRIDAY = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "due"),
    [
        ("0 */5 * * * *", datetime(2026, 1, 2, 3, 5, tzinfo=UTC)),
        ("*/10 * * * * *", datetime(2026, 1, 2, 3, 4, 10, tzinfo=UTC)),
        ("0 30 9 * * Mon-Fri", datetime(2026, 1, 2, 9, 30, tzinfo=UTC)),
        ("0 0 0 * * Monday", datetime(2026, 1, 5, tzinfo=UTC)),
        ("0 0 0 1 January *", datetime(2027, 1, 1, tzinfo=UTC)),
        ("0 0 0 13 * Fri", datetime(2026, 2, 13, tzinfo=UTC)),  # both day fields must match
        ("5 4 3 * * *", datetime(2026, 1, 3, 3, 4, 5, tzinfo=UTC)),
    ],
)
def test_a_schedule_says_when_it_is_due(expression: str, due: datetime) -> None:
    assert Schedule(expression, "x").next_after(_FRIDAY) == due


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("00:05:00", "TimeSpan"),
        ("*/5 * * * *", "5 fields"),
        ("0 0 0 L * *", "bad field"),
        ("0 0 0 ? * MON", "bad field"),
        ("0 0 0 * * 7", "bad field"),
        ("0 61 0 * * *", "not valid NCRONTAB"),
        ("0 0 0 31 2 *", "not valid NCRONTAB"),
    ],
)
def test_a_schedule_that_is_none_is_refused_with_its_binding(expression: str, reason: str) -> None:
    with pytest.raises(Misconfigured, match=reason) as refused:
        Schedule(expression, "Function 'sweep', binding 'timer'")
    assert str(refused.value).startswith("Function 'sweep', binding 'timer'")


def test_a_timer_runs_at_startup_by_schedule_and_by_hand(tmp_path: Path) -> None:
    running = RunningHost(tmp_path, settings={"SWEEP": "* * * * * *"}).start()
    try:
        running.until(lambda: len(running.noted("sweeps")) >= 2)
        before = len(running.noted("sweeps"))
        assert running.admin("POST", "/admin/functions/sweep", json={}).status == 202
        running.until(lambda: len(running.noted("sweeps")) > before)
        assert running.noted("sweeps")[0] | {"pid": 0} == {"pid": 0, "past_due": False, "status": {}}
    finally:
        running.stop()


def test_a_run_that_was_missed_while_the_host_was_away_is_past_due(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    statuses = Collection(tmp_path / "state" / "timers.json", ScheduleStatus)
    statuses.put("sweep", ScheduleStatus(now - timedelta(days=2), now - timedelta(days=1), now - timedelta(days=2)))
    running = RunningHost(tmp_path).start()
    try:
        running.until(lambda: running.noted("sweeps"))
        (sweep,) = running.noted("sweeps")
        assert sweep["past_due"] is True
        assert sweep["status"]["Next"].startswith(str((now - timedelta(days=1)).date()))
    finally:
        running.stop()
