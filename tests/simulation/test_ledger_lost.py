"""The ledger of a schedule is lost at its end, or is again what it was in the middle: what stands stays."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from shared.deployment.build import Build
from shared.domain.image import Digest
from shared.domain.rollout import Rollout
from shared.domain.stable_tag import StableTag
from shared.operations import Who
from tests.simulation.outside import Ledger
from tests.simulation.schedule import SWEEP_SECONDS, Schedule, _seeded_nonces

SEEDS = range(7_000, 7_015)
ROUNDS = 24
"""Two hours of sweeps."""

WHO = Who.of("ada", "the table is gone")


@contextmanager
def at_its_end(seed: int) -> Iterator[tuple[Schedule, Ledger]]:
    """A schedule that has come to its end, and its ledger as it was in the middle of it, with work in flight."""
    schedule = Schedule(seed)
    with _seeded_nonces(schedule.random):
        try:
            schedule._disturbed()
            old = copy.copy(schedule.outside.ledger)
            old.parts = copy.deepcopy(old.parts)
            schedule._calm()
            go_on(schedule, 12)  # what was planned before the calm is pushed by now
            assert schedule.judge.violations == []
            yield schedule, old
        finally:
            schedule.scheduler.close()


def lose(schedule: Schedule, instead: Ledger) -> None:
    """Another ledger; the queues are gone, and the judge, who knows what was, is sent away."""
    ledger = schedule.outside.ledger
    ledger.parts = instead.parts
    ledger._version += 1_000_000
    ledger.committed = lambda changes: None
    schedule.outside.registry.changed = lambda *_: None
    schedule.calls.reading = schedule.calls.acting = lambda method, arguments: None


def go_on(schedule: Schedule, rounds: int = ROUNDS) -> None:
    """Time goes by, with its sweeps; whoever is asked approves."""
    for _ in range(rounds):
        schedule.host.sweep()
        schedule._run_until(schedule.scheduler.seconds + SWEEP_SECONDS)
        schedule.operators.approve_all()


def rebuild(schedule: Schedule) -> None:
    """An operator rebuilds the ledger."""
    operate = schedule.host.app().operate
    schedule.host.run("operator", lambda: operate.ledger.rebuild(WHO, hold_all=True).act(), lambda error: None)
    schedule._run_until(schedule.scheduler.seconds + SWEEP_SECONDS)


def witnessed(schedule: Schedule) -> dict[tuple[str, str], Digest]:
    """The stable tags whose digest stands under a locked unique tag of theirs, and what they are."""
    registry, policy, found = schedule.outside.registry, schedule.rules.now, dict[tuple[str, str], Digest]()
    for gate in policy.gates.values():
        server, repository = policy.registries[gate.promote.registry].login_server, gate.promote.repository
        named = {name.partition(":")[2]: d for (at, name), d in registry.tags.items() if at == server}
        for tag, content in named.items():
            uniques = (name for name, d in named.items() if d == content and gate.promote.is_unique_tag(name, tag))
            locked = any((server, f"{repository}:{name}") in registry.locked for name in uniques)
            if gate.promote.locks_copies and gate.takes(tag) and locked:
                found[server, f"{repository}:{tag}"] = content
    return found


def deployed(schedule: Schedule) -> dict[str, str]:
    """What container groups show that a run of the app's own task is seen to have built."""
    outside = schedule.outside
    services = replace(schedule.host.app().services, registry=outside.registry, tasks=outside.tasks)
    build, groups, found = Build(services), outside.containers.groups, dict[str, str]()
    for app in schedule.rules.now.apps.values():
        group = groups.get(app.deploy.name) if app.deploy else None
        if app.deploy is not None and group is not None and build.identify(app, group.image):
            found[app.deploy.name] = group.image
    return found


def in_progress(schedule: Schedule, ledger: Ledger) -> set[str]:
    """The deployments whose app has an open rollout in a ledger: that goes on, and builds on what the stable tag is."""
    opened, apps = {one.app for one in ledger.all(Rollout) if not one.settled}, schedule.rules.now.apps
    return {app.deploy.name for name, app in apps.items() if name in opened and app.deploy is not None}


def moved(schedule: Schedule, based: dict[tuple[str, str], Digest], runs: dict[str, str]) -> list[str]:
    """What of that is something else by now."""
    tags, groups = schedule.outside.registry.tags, schedule.outside.containers.groups
    others = [f"{name} is {tags.get(name)}" for name, content in based.items() if tags.get(name) != content]
    return others + [f"{name} shows {groups.get(name)}" for name in runs if groups[name].image != runs[name]]


@pytest.mark.parametrize("seed", SEEDS)
def test_with_an_empty_ledger_nothing_that_was_promoted_or_deployed_is_replaced(seed: int) -> None:
    with at_its_end(seed) as (schedule, _):
        based, runs = witnessed(schedule), deployed(schedule)
        lose(schedule, Ledger())
        go_on(schedule)
        assert moved(schedule, based, runs) == []
        rebuild(schedule)
        go_on(schedule)
        assert moved(schedule, based, runs) == []
        assert schedule.judge.violations == []


@pytest.mark.parametrize("seed", SEEDS)
def test_with_an_old_ledger_that_was_rebuilt_nothing_that_was_promoted_or_deployed_is_replaced(seed: int) -> None:
    with at_its_end(seed) as (schedule, old):
        based, resumed = witnessed(schedule), in_progress(schedule, old)
        runs = {name: image for name, image in deployed(schedule).items() if name not in resumed}
        lose(schedule, old)
        before = {(one.gate, one.tag): one for one in schedule.outside.ledger.all(StableTag)}
        rebuild(schedule)
        go_on(schedule)
        assert moved(schedule, based, runs) == []
        after = {(one.gate, one.tag): one for one in schedule.outside.ledger.all(StableTag)}
        assert all(after[key].sequence >= one.sequence and after[key].move >= one.move for key, one in before.items())
        assert schedule.judge.violations == []
