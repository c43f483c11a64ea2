"""The outbox: every outcome reaches every listener, in order, however long one is away or refuses."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.errors import BasegateError, Misconfigured, Rejected, Retry
from shared.domain.outcome import Delivery, Listener, ListenerState, Outcome
from shared.domain.promotion import PromotionState
from shared.intake.hints import Hints
from shared.ports import Change, Removal
from shared.reconcile.engine import Reconciler
from shared.reconcile.listeners import BATCH_SIZE, ListenerController
from shared.records.outbox import Outbox
from tests.fakes import FakeAnnouncer, ProcessDied, World, digest, sample_policy
from tests.unit.operators import hold, lift_hold

GREEN, ORANGE = digest("green"), digest("orange")
AWAY = Retry("the listener answers 503")
HOUR, DAY = 3600.0, 86_400.0


def gate_world() -> World:
    return World(sample_policy(apps={}))


def two_listeners() -> tuple[World, FakeAnnouncer]:
    world, webhook = gate_world(), FakeAnnouncer()
    world.more_listeners["webhook"] = webhook
    world.restart()
    return world, webhook


def refuse(world: World, *names: str) -> None:
    """The topic refuses outcomes of these names, and takes the others."""
    announce = world.announcer.announce

    def refusing(outcome: Outcome) -> None:
        if outcome.name in names:
            raise Rejected(f"announcing {outcome.name}: 413 PayloadTooLarge")
        announce(outcome)

    world.announcer.announce = refusing  # type: ignore[method-assign]


def heard_at(world: World) -> list[datetime]:
    """When the topic hears something, from now on."""
    announce, times = world.announcer.announce, list[datetime]()

    def timed(outcome: Outcome) -> None:
        announce(outcome)
        times.append(world.clock.now())

    world.announcer.announce = timed  # type: ignore[method-assign]
    return times


def caused(world: World) -> list[Outcome]:
    """All outcomes that come about, from now on."""
    commit, outcomes = world.ledger.commit, list[Outcome]()

    def seen(*changes: Change | Removal) -> Any:
        stored = commit(*changes)
        new = (change for change in changes if isinstance(change, Change) and change.stored is None)
        outcomes.extend(change.record.outcome for change in new if isinstance(change.record, Delivery))
        return stored

    world.ledger.commit = seen  # type: ignore[method-assign]
    return outcomes


def by_subject(outcomes: list[Outcome]) -> dict[str, list[str]]:
    ids = defaultdict[str, list[str]](list)
    for outcome in outcomes:
        ids[outcome.subject].append(outcome.id)
    return ids


def alarms(world: World, kind: AlarmKind) -> list[Alarm]:
    return [
        one.record for one in world.ledger.list(Alarm, "stalls") if one.record.kind is kind and one.record.is_active
    ]


# away


def test_a_topic_that_is_away_for_a_day_hears_everything_afterwards_in_order_and_at_a_pace() -> None:
    world = World()
    outcomes, times = caused(world), heard_at(world)
    world.announcer.fault = AWAY
    for number in range(48):
        world.push("15-alpine", digest(f"push {number}"))
        world.push("15.1", digest(f"other {number % 5}"))
        world.pass_time(DAY / 48, limit=20_000)
        world.sweep_now()
    assert (world.announcer.announced, len(outcomes) > 100) == ([], True)
    assert len(alarms(world, AlarmKind.STALLED)) == 1
    world.announcer.fault = None
    world.pass_time(2 * HOUR)
    world.sweep_now()
    assert by_subject(world.announcer.announced) == by_subject(outcomes)
    assert len(times) == len(outcomes), "nothing was heard twice"
    assert max(Counter(round(at.timestamp()) for at in times).values()) <= 2 * BATCH_SIZE
    assert times[1] - times[0] >= timedelta(seconds=1), "one goes first"
    assert alarms(world, AlarmKind.STALLED) == []
    for owner in ("gate:node", "app:hello-world", "alarm:stalls", "alarm:gates.node"):
        assert world.unheard(owner) == []
    assert world.listener().state is ListenerState.HEARING


def test_who_is_away_is_asked_by_one_work_item_after_waits_that_grow_to_an_hour() -> None:
    world, asked = gate_world(), list[datetime]()

    def away(outcome: Outcome) -> None:
        asked.append(world.clock.now())
        raise AWAY

    world.announcer.announce = away  # type: ignore[method-assign]
    for number in range(5):
        world.push(f"15.{number}", digest(f"push {number}"))
    world.settle()
    world.pass_time(DAY)
    world.announcer.fault = AWAY
    waits = [round((later - earlier).total_seconds()) for earlier, later in pairwise(asked)]
    assert waits[-10:] == [3600] * 10, "however many outcomes wait"
    assert [item.kind for _, _, item in world.queue.waiting if hasattr(item, "kind")] == ["listener"]


@pytest.mark.parametrize("fault", [Misconfigured("the vault answers 403"), AWAY])
def test_an_outcome_never_blocks_the_gate_and_is_sent_until_it_is_heard(fault: BasegateError) -> None:
    world = gate_world()
    world.announcer.fault = fault
    world.push("15-alpine", GREEN)
    world.settle()
    assert (world.stable_tag(), world.promotion().state) == (GREEN, PromotionState.PROMOTED)
    world.pass_time(3 * DAY)
    assert {one.outcome.name for one in world.unheard()} == {"CandidatePassed", "Promoted"}
    world.announcer.fault = None
    world.pass_time(HOUR + 60)
    assert world.unheard() == []
    assert world.announcer.names.count("Promoted") == world.announcer.names.count("CandidatePassed") == 1


def test_a_topic_that_asks_to_wait_is_left_alone_for_so_long() -> None:
    world = gate_world()
    world.announcer.fault = Retry("the topic answers 429", delay_seconds=17)
    world.push("15-alpine", GREEN)
    while not any(getattr(item, "kind", "") == "listener" for _, _, item in world.queue.waiting):
        world.next_item()
    due = next(due for due, _, item in world.queue.waiting if getattr(item, "kind", "") == "listener")
    assert (due - world.clock.now()).total_seconds() == 17


def test_one_listener_that_is_away_does_not_delay_the_other() -> None:
    world, webhook = two_listeners()
    world.announcer.fault = AWAY
    world.push("15-alpine", GREEN)
    world.settle()
    assert {"CandidatePassed", "Promoted"} <= set(webhook.names)
    assert {one.listener for one in world.unheard()} == {"topic"}
    webhook.fault, world.announcer.fault = AWAY, None
    world.push("15-alpine", ORANGE)
    world.pass_time(HOUR)
    assert world.announcer.names.count("Promoted") == 2
    assert {one.listener for one in world.unheard()} == {"webhook"}


# order and identity


def test_a_later_outcome_waits_for_an_earlier_one_of_its_subject_and_for_no_other() -> None:
    world = gate_world()
    hold(world)
    world.announcer.fault = AWAY
    world.push("15-alpine", GREEN)
    world.settle()
    world.announcer.fault = None
    world.services.unavailable.clear()
    lift_hold(world)
    world.push("15.14", ORANGE)
    world.settle()
    subject = "gates/node/promotions/15-alpine~0000000001"
    assert [one.subject for one in world.announcer.announced if one.name == "Promoted"] == [
        subject.replace("-alpine", ".14")
    ]
    assert "Promoted" in {one.outcome.name for one in world.unheard() if one.outcome.subject == subject}
    world.pass_time(HOUR)
    assert [one.name for one in world.announcer.announced if one.subject == subject] == ["PromotionHeld", "Promoted"]


def test_an_outcome_has_one_id_for_each_listener_and_each_time_and_no_other_has_it() -> None:
    world, webhook = two_listeners()
    commit = world.ledger.commit

    def forgetful(*changes: Change | Removal) -> Any:
        if any(isinstance(change, Removal) for change in changes):
            world.ledger.commit = commit  # type: ignore[method-assign]
            raise ProcessDied
        return commit(*changes)

    world.ledger.commit = forgetful  # type: ignore[method-assign]
    world.push("15-alpine", GREEN)
    world.settle_while_crashing()
    topic = [outcome.id for outcome in world.announcer.announced]
    assert len(topic) > len(set(topic)), "one was sent twice"
    assert set(topic) == {outcome.id for outcome in webhook.announced}
    names = {(outcome.id, outcome.name, outcome.subject) for outcome in world.announcer.announced}
    assert len(names) == len(set(topic))


def test_what_comes_about_again_is_an_outcome_of_its_own() -> None:
    world = gate_world()
    hold(world)
    world.push("15-alpine", GREEN)
    world.settle()
    lift_hold(world)
    hold(world)
    world.settle()
    held = [outcome for outcome in world.announcer.announced if outcome.name == "PromotionHeld"]
    assert len(held) == len({outcome.id for outcome in held}) == 2
    assert held[0].subject == held[1].subject


# refused


def test_a_refused_outcome_is_parked_with_an_alarm_and_keeps_back_nothing() -> None:
    world = gate_world()
    refuse(world, "PromotionHeld")
    hold(world)
    world.push("15-alpine", GREEN)
    world.settle()
    lift_hold(world)
    world.settle()
    assert "Promoted" in world.announcer.names, "what comes after it of its subject, too"
    (parked,) = world.unheard()
    assert (parked.outcome.name, parked.problem) == (
        "PromotionHeld",
        "announcing PromotionHeld: 413 PayloadTooLarge",
    )
    (alarm,) = alarms(world, AlarmKind.REFUSED)
    assert (alarm.subject, "PromotionHeld" in alarm.words, "once a day" in alarm.plan) == ("listener topic", True, True)
    assert world.listener().settled, "it is not behind"
    assert alarms(world, AlarmKind.STALLED) == []
    assert world.services.unavailable == {}, "it answers"


def test_what_is_parked_is_sent_once_a_day_until_it_is_heard_and_the_alarm_ends() -> None:
    world, tries = gate_world(), list[datetime]()
    announced, announce = world.announcer.announced, world.announcer.announce

    def refusing(outcome: Outcome) -> None:
        if outcome.name == "Promoted":
            tries.append(world.clock.now())
            raise Rejected("400")
        announce(outcome)

    world.announcer.announce = refusing  # type: ignore[method-assign]
    world.push("15-alpine", GREEN)
    world.settle()
    first = len(tries)
    for _ in range(3 * 24):
        world.pass_time(HOUR)
        world.sweep_now()
    assert len(tries) - first in (2, 3)
    assert len(alarms(world, AlarmKind.REFUSED)) == 1
    world.announcer.announce = announce  # type: ignore[method-assign]
    world.pass_time(DAY)
    world.sweep_now()
    world.settle()
    world.sweep_now()
    assert [outcome.name for outcome in announced].count("Promoted") == 1
    assert alarms(world, AlarmKind.REFUSED) == []


# what ends without being heard, and what must not


def test_an_outcome_that_nobody_hears_goes_when_it_is_kept_no_longer(caplog: pytest.LogCaptureFixture) -> None:
    world = gate_world()
    world.announcer.fault = AWAY
    world.push("15-alpine", GREEN)
    world.settle()
    world.clock.forward(399 * DAY)
    world.settle()
    assert world.unheard() != []
    world.clock.forward(2 * DAY)
    with caplog.at_level(logging.WARNING):
        world.pass_time(HOUR)
    assert world.unheard() == []
    assert "undelivered to the topic" in caplog.text


def test_outcomes_of_a_listener_that_is_not_set_any_more_go(caplog: pytest.LogCaptureFixture) -> None:
    world, webhook = two_listeners()
    webhook.fault = AWAY
    world.push("15-alpine", GREEN)
    world.settle()
    world.queue.waiting.clear()
    world.more_listeners.clear()
    world.restart()
    world.clock.forward(2 * HOUR)
    world.sweep_now()
    world.pass_time(60)
    assert (world.unheard(), world.listener("webhook").settled) == ([], True)


def test_the_outcomes_of_a_gate_that_left_the_rules_are_heard() -> None:
    world = gate_world()
    world.announcer.fault = AWAY
    world.push("15-alpine", GREEN)
    world.settle()
    world.use(sample_policy(gates={}, apps={}))
    world.queue.waiting.clear()
    world.announcer.fault = None
    world.clock.forward(2 * HOUR)
    world.sweep_now()
    world.pass_time(60)
    assert {"CandidatePassed", "Promoted"} <= set(world.announcer.names)
    assert world.unheard() == []


def test_an_outcome_whose_worker_died_is_sent_by_the_sweep_also_without_its_message() -> None:
    world = gate_world()
    real, world.announcer.announce = world.announcer.announce, _die  # type: ignore[method-assign,assignment]
    world.push("15-alpine", GREEN)
    for _ in range(3):
        try:
            world.settle()
        except ProcessDied:
            continue
    world.announcer.announce = real  # type: ignore[method-assign]
    world.queue.waiting.clear()
    world.clock.forward(120)
    world.sweep_now()
    world.settle()
    assert {"CandidatePassed", "Promoted"} <= set(world.announcer.names)
    assert world.unheard() == []


def _die(*_: object) -> None:
    raise ProcessDied


def test_a_dry_run_of_the_sweep_says_what_it_would_bring_up_and_does_not() -> None:
    world = gate_world()
    world.announcer.fault = AWAY
    world.push("15-alpine", GREEN)
    world.settle()
    stored = world.ledger.load(Listener, "listeners", "topic")
    assert stored
    world.ledger.save(stored, msgspec.structs.replace(stored.record, state=ListenerState.HEARING, owners=()))
    world.queue.waiting.clear()
    world.clock.forward(120)
    effects = [effect.subject for effect in world.sweep_now(dry_run=True).effects]
    assert "the topic, for outcomes of gate:node" in effects
    assert (world.queue.waiting, world.listener().settled) == ([], True)


def test_an_outcome_that_comes_about_while_its_listener_goes_quiet_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = gate_world()
    world.announcer.fault = AWAY
    world.push("15-alpine", GREEN)
    world.settle()
    world.announcer.fault = None
    left, late = ListenerController._pending, iter([True])

    def meanwhile(self: ListenerController, listener: str, owner: str, *, refused: bool = False) -> Any:
        if refused and owner == "gate:node" and next(late, False):
            Outbox(world.services).send(_outcome_of_another(world))
        return left(self, listener, owner, refused=refused)

    monkeypatch.setattr(ListenerController, "_pending", meanwhile)
    world.pass_time(600)
    assert world.announcer.names.count("PushNotExamined") == 1
    assert world.unheard() == []


def _outcome_of_another(world: World) -> list[Delivery]:
    """An outcome as another worker writes it, for which the topic is away."""
    world.services.unavailable["topic"] = world.clock.now() + timedelta(seconds=60)
    seen = world.observation()
    stored = world.ledger.load(type(seen), "node", seen.tag)
    outcome = Outcome(name="PushNotExamined", subject="gates/node/tags/15-alpine", data={})
    numbered, written = Outbox(world.services).put(seen, outcome)
    world.ledger.commit(Change(numbered, stored), *written)
    return [change.record for change in written]


def test_without_a_listener_the_log_has_it_and_nothing_is_written(caplog: pytest.LogCaptureFixture) -> None:
    world = gate_world()
    services = replace(world.services, listeners={})
    world.reconciler = Reconciler(services)
    world.hints = Hints(services, world.reconciler.work, {})
    with caplog.at_level(logging.INFO):
        world.push("15-alpine", GREEN)
        world.settle()
    assert "outcome Promoted of gates/node/promotions/15-alpine~0000000001: there is no listener" in caplog.text
    assert world.unheard() == []
