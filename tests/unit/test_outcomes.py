"""What docs/outcomes.md promises to whoever listens: every name there is, and the data that comes with it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import msgspec
import pytest

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.candidate import CandidateState
from shared.domain.policy import ApprovalCheck
from shared.domain.rollout import FINAL_STATES
from shared.domain.sweeping import SweepRecord
from shared.ports import Notice
from shared.workflow.candidates import CandidateCourse
from shared.workflow.checks.approval import ApprovalMethod
from shared.workflow.rollouts import RolloutCourse
from shared.workflow.sweep.alarms import Alarms, Every
from shared.workflow.sweep.silence_beat import _PERIODS, _SHORTEST_SILENCE_SECONDS, EXPIRY_NOTICE
from shared.workflow.sweep.tour import Tour
from tests.fakes import World, digest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/outcomes.md").read_text(encoding="utf-8")
TELLERS = {"candidates.py", "rollouts.py", "approval.py", "alarms.py"}
UNFINISHED = (CandidateState.EXAMINING, CandidateState.PROMOTING)


def table(heading: str) -> list[list[str]]:
    """The rows of the table whose first column has this heading."""
    rows = TEXT.split(f"\n| {heading} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def told_by_records(world: World) -> list[Notice]:
    candidate, rollout = world.candidates()[0], world.rollouts()[0]
    candidates, rollouts = CandidateCourse(world.services), RolloutCourse(world.services)
    notices = [
        candidates.notice(msgspec.structs.replace(candidate, state=state))
        for state in CandidateState
        if state not in UNFINISHED
    ]
    return notices + [rollouts.notice(msgspec.structs.replace(rollout, state=state)) for state in FINAL_STATES]


def told_at_once(world: World) -> list[Notice]:
    """What checks and alarms tell themselves."""
    before = len(world.announcer.told)
    ApprovalMethod(world.services).start(world.candidates()[0], ApprovalCheck(), "mark")
    alarms, tour = Alarms(world.services), Tour(SweepRecord(beat="stable.node"))
    wrong = Alarm(
        scope="gates/node",
        kind=AlarmKind.STABLE_MOVED,
        subject="15-alpine",
        words="w",
        plan="p",
        since=world.clock.now(),
    )
    alarms.settle(tour, wrong.scope, Every(frozenset((wrong.kind,))), [wrong])
    alarms.settle(tour, wrong.scope, Every(frozenset((wrong.kind,))), [])
    alarms.mended(tour, wrong, "put back")
    return world.announcer.told[before:]


@pytest.fixture(scope="module")
def told() -> dict[str, Notice]:
    world = World()
    world.push("15-alpine", digest("Green"))
    world.settle()
    return {notice.name: notice for notice in told_by_records(world) + told_at_once(world)}


def test_every_outcome_is_listed_and_no_other(told: dict[str, Notice]) -> None:
    assert {name.strip("`") for name, _, _ in table("name")} == set(told)


def test_every_outcome_has_the_subject_and_the_data_that_are_listed(told: dict[str, Notice]) -> None:
    shapes = {name: (subject, fields) for name, subject, fields in table("data")}
    for name, _, shape in table("name"):
        subject, fields = shapes[shape]
        notice = told[name.strip("`")]
        assert set(re.findall(r"`(\w+)`", fields)) == set(notice.data), name
        assert re.fullmatch(re.sub(r"\\?\{\w+\\?\}", ".+", subject.strip("`")), notice.subject), name


def test_every_kind_of_drift_is_listed_and_no_other() -> None:
    assert [kind for kind, _ in table("kind")] == [kind.value for kind in AlarmKind]


def test_the_times_behind_two_kinds_of_drift_are_those_of_the_sweep() -> None:
    assert f"near its expiry {EXPIRY_NOTICE.days} days before it" in TEXT
    assert (_PERIODS, _SHORTEST_SILENCE_SECONDS) == (3, 1800.0)


def test_nothing_else_tells_outcomes() -> None:
    """A new place that tells one belongs into this test, and its outcome into the document."""
    tellers = set()
    for file in (ROOT / "shared/workflow").rglob("*.py"):
        calls = (node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call))
        if any(isinstance(call, ast.Name) and call.id == "Notice" for call in calls):
            tellers.add(file.name)
    assert tellers == TELLERS


def test_the_signature_that_is_sent_is_the_one_that_listeners_are_told_to_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from shared.adapters.announcer_webhook import WebhookAnnouncer

    listener: dict[str, object] = {}
    exec(TEXT.split("```python\n", 1)[1].split("```", 1)[0], listener)
    is_ours, body = listener["is_ours"], b'{"type": "Basegate.DriftOver"}'
    sender = WebhookAnnouncer("https://hooks.contoso.com/x", secret=lambda: "s3cret")
    header = sender._signature(body)["X-Basegate-Signature"]
    assert callable(is_ours)
    assert is_ours(header, body, "s3cret")
    assert not is_ours(header, body + b" ", "s3cret")
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert not is_ours(header, body, "s3cret")
