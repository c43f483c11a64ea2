"""What docs/outcomes.md promises to whoever listens: every name there is, and the data that comes with it."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.candidate import CandidateState
from shared.domain.outcome import Outcome
from shared.domain.promotion import PromotionState
from shared.domain.record import Record
from shared.domain.rollout import FINAL_STATES
from shared.reconcile.candidates import CandidateController
from shared.reconcile.promotions import PromotionController
from shared.reconcile.rollouts import RolloutController
from shared.records.alarms import Alarms
from shared.records.step import Controller
from shared.sweep.jobs import silence
from tests.contract.registries.reading import nobody
from tests.fakes import World, digest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/outcomes.md").read_text(encoding="utf-8")
ANNOUNCERS = {"candidates.py", "promotions.py", "rollouts.py", "hints.py", "alarms.py"}


def table(heading: str) -> list[list[str]]:
    """The rows of the table whose first column has this heading."""
    rows = TEXT.split(f"\n| {heading} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def of_records(world: World) -> list[Outcome]:
    """What is announced about a record in each of its states."""
    settled: list[tuple[Controller[Any], Record]] = [
        (CandidateController(world.services), msgspec.structs.replace(world.candidates()[0], state=state))
        for state in CandidateState
    ]
    settled += [
        (PromotionController(world.services), msgspec.structs.replace(world.promotions()[0], state=state))
        for state in PromotionState
    ]
    settled += [
        (RolloutController(world.services), msgspec.structs.replace(world.rollouts()[0], state=state))
        for state in FINAL_STATES
    ]
    outcomes = (controller.outcome(record) for controller, record in settled)
    return [outcome for outcome in outcomes if outcome is not None]


def by_themselves(world: World) -> list[Outcome]:
    """What hints and alarms announce."""
    before = len(world.announcer.announced)
    world.deliver(world.event("15-alpine", digest("left before it was read")))
    world.settle(within_seconds=3600)
    alarms = Alarms(world.services)
    wrong = Alarm(
        scope="gates/node",
        kind=AlarmKind.STABLE_MOVED,
        subject="15-alpine",
        words="w",
        plan="p",
        since=world.clock.now(),
    )
    alarms.settle(wrong.scope, [wrong.kind], [wrong])
    alarms.settle(wrong.scope, [wrong.kind], [])
    alarms.repaired(wrong, "put back")
    return world.announcer.announced[before:]


@pytest.fixture(scope="module")
def announced() -> dict[str, Outcome]:
    world = World()
    world.push("15-alpine", digest("Green"))
    world.settle()
    return {outcome.name: outcome for outcome in of_records(world) + by_themselves(world)}


def test_every_outcome_is_listed_and_no_other(announced: dict[str, Outcome]) -> None:
    assert {name.strip("`") for name, _, _ in table("name")} == set(announced)


def test_every_outcome_has_the_subject_and_the_data_that_are_listed(announced: dict[str, Outcome]) -> None:
    shapes = {name: (subject, fields) for name, subject, fields in table("data")}
    for name, _, shape in table("name"):
        subject, fields = shapes[shape]
        outcome = announced[name.strip("`")]
        assert set(re.findall(r"`(\w+)`", fields)) == set(outcome.data), name
        assert re.fullmatch(re.sub(r"\\?\{\w+\\?\}", ".+", subject.strip("`")), outcome.subject), name


def test_every_kind_of_drift_is_listed_and_no_other() -> None:
    assert [kind for kind, _ in table("kind")] == [kind.value for kind in AlarmKind if kind is not AlarmKind.UNKNOWN]


def test_the_times_behind_two_kinds_of_drift_are_those_of_the_sweep() -> None:
    assert f"near its expiry {silence.EXPIRY_WARNING.days} days before it" in TEXT
    assert (silence._PERIODS, silence._SHORTEST_SILENCE_SECONDS) == (3, 1800.0)


def test_nothing_else_announces_outcomes() -> None:
    """A new place that announces one belongs into this test, and its outcome into the document."""
    announcers = set()
    for file in (ROOT / "shared").rglob("*.py"):
        calls = (node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call))
        if any(isinstance(call, ast.Name) and call.id == "Outcome" for call in calls):
            announcers.add(file.name)
    assert announcers == ANNOUNCERS


def test_the_signature_that_is_sent_is_the_one_that_listeners_are_told_to_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from shared.adapters.listeners.webhook import Webhook

    listener: dict[str, object] = {}
    exec(TEXT.split("```python\n", 1)[1].split("```", 1)[0], listener)
    is_ours, body = listener["is_ours"], b'{"type": "Basegate.DriftResolved"}'
    values = {"BASEGATE_WEBHOOK_URL": "https://hooks.contoso.com/x", "BASEGATE_WEBHOOK_SECRET": "webhook-key"}
    sender = Webhook(values, nobody, {"webhook-key": "s3cret"}.__getitem__)
    header = sender._signature(body)["X-Basegate-Signature"]
    assert callable(is_ours)
    assert is_ours(header, body, "s3cret")
    assert not is_ours(header, body + b" ", "s3cret")
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert not is_ours(header, body, "s3cret")
