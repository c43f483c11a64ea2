"""What the gate promises, against the sandbox: real registries, real runs, real containers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from demo import scenario
from sandbox.testing import shell_image
from shared.domain.alarm import STALLS, Alarm
from shared.domain.candidate import Candidate, CandidateState, attempts_of
from shared.domain.errors import BasegateError
from shared.domain.image import Digest
from shared.domain.promotion import Promotion, PromotionState
from shared.domain.rollout import AppRecord, Rollout
from shared.domain.stable_tag import StableTag
from shared.operations import Who
from shared.sweep.sweep import JobState
from tests.contract.in_process import InProcess, in_process, pushed
from tests.contract.place import Place

pytestmark = pytest.mark.containers

TAG = "15-alpine"
WHO = Who("ada", "it must be tried")

EXAMINE = """
version: v1.1.0
steps:
  - cmd: "{{.Values.IMAGE}} true"
"""
RULES = """
registries:
  public: {{id: {public}}}
  base: {{id: {base}}}
gates:
  {name}:
    source: {{registry: public, repository: {name}, tags: ["15-alpine"]}}
    checks: {checks}
    promote: {{registry: base, repository: {name}}}
"""
TASK, APPROVAL = "[{task: {registry: public, task: examine-promises}}]", "[{approval: {}}]"


class Promise:
    """One gate of its own, and the hands of whoever tries to break it."""

    def __init__(self, place: Place, running: InProcess, name: str) -> None:
        self.place, self.running, self.name = place, running, name
        self.services = running.app.services

    def push(self, **variables: str) -> Digest:
        """Push an image upstream; the app hears of it."""
        digest = self.place.push(self.place.public, self.name, TAG, shell_image(**variables))
        self.running.deliver(pushed(str(self.place.public.id), self.name, TAG, digest))
        return digest

    def stable(self) -> Digest | None:
        """What the stable tag is at the registry."""
        return self.services.registry.digest_of(self.place.base, self.name, TAG)

    def promotion(self, digest: str) -> Promotion | None:
        """The last promotion of a digest."""
        listed = self.services.ledger.list(Promotion, self.name, f"{TAG}~")
        found = [stored.record for stored in listed if stored.record.digest == digest]
        return found[-1] if found else None

    def candidate(self, digest: str) -> Candidate | None:
        """The last attempt at a digest."""
        found = list(self.services.ledger.list(Candidate, self.name, attempts_of(digest)))
        return found[-1].record if found else None

    def is_promoted(self, digest: str) -> Callable[[], bool]:
        """Whether a digest has come to its stable tag, and its promotion has ended."""

        def promoted() -> bool:
            promotion = self.promotion(digest)
            return promotion is not None and promotion.state is PromotionState.PROMOTED

        return promoted


@contextmanager
def promise(place: Place, folder: Path, checks: str, more: str = "") -> Iterator[Promise]:
    name = f"p{uuid4().hex[:8]}"
    rules = folder / "gates.yaml"
    ids = {"public": place.public.id, "base": place.base.id}
    rules.write_text(RULES.format(name=name, checks=checks, **ids) + more.replace("NAME", name))
    place.make_task(place.public, "examine-promises", EXAMINE)
    with in_process(rules) as running:
        yield Promise(place, running, name)


def test_a_forged_event_leaves_the_stable_tag_alone(place: Place, tmp_path: Path) -> None:
    with promise(place, tmp_path, TASK) as gate:
        good = gate.push(COLOR="green")
        gate.running.settle(gate.is_promoted(good))
        old = place.push(place.public, gate.name, "12-old", shell_image(COLOR="old"))
        gate.running.deliver(pushed(str(place.public.id), gate.name, TAG, old))
        gate.running.pass_time(600)
        assert gate.stable() == good
        assert gate.candidate(old) is None


NEIGHBOURS = """
registries:
  public: {{id: {public}, credentials: registry-publicregistry}}
  base: {{id: {base}}}
gates:
  denied:
    source: {{registry: public, repository: not-for-the-token, tags: ["1"]}}
    checks: {checks}
    promote: {{registry: base, repository: denied}}
  alone:
    source: {{registry: public, repository: node, tags: [{tag}]}}
    checks: {checks}
    promote: {{registry: base, repository: alone}}
"""


def test_a_gate_whose_neighbours_repository_answers_403_promotes_as_if_alone(place: Place, tmp_path: Path) -> None:
    tag, rules = f"t{uuid4().hex[:8]}", tmp_path / "gates.yaml"
    ids = {"public": place.public.id, "base": place.base.id}
    rules.write_text(NEIGHBOURS.format(tag=tag, checks=TASK, **ids))
    place.make_task(place.public, "examine-promises", EXAMINE)
    place.push(place.public, "not-for-the-token", "1", shell_image(COLOR="guarded"))
    with in_process(rules) as running:
        services = running.app.services
        for color in ("orange", "green"):
            digest = place.push(place.public, "node", tag, shell_image(COLOR=color))
            result = running.app.sweep.run(services.clock.now() + timedelta(minutes=1))
            states = {job.job: job.state for job in result.jobs}
            assert (states["upstream.denied"], states["upstream.alone"]) == (JobState.FAILED, JobState.DONE)

            def is_promoted(digest: Digest = digest) -> bool:
                return services.registry.digest_of(place.base, "alone", tag) == digest

            running.settle(is_promoted)
            running.pass_time(300)


def test_a_gate_with_approval_first_promotes_three_digests_in_a_row(place: Place, tmp_path: Path) -> None:
    with promise(place, tmp_path, APPROVAL) as gate:
        for color in ("orange", "green", "blue"):
            digest = gate.push(COLOR=color)

            def waits(digest: Digest = digest) -> bool:
                candidate = gate.candidate(digest)
                return candidate is not None and candidate.state is CandidateState.AWAITING_APPROVAL

            gate.running.settle(waits)
            candidate = gate.candidate(digest)
            assert candidate is not None
            gate.running.app.operate.candidates.approve(candidate.id, WHO).act()
            gate.running.settle(gate.is_promoted(digest))
            assert gate.stable() == digest


def test_an_import_that_is_throttled_for_an_hour_is_promoted_afterwards_with_no_one_touching_it(
    place: Place, tmp_path: Path
) -> None:
    throttle(place, throttled=True)
    try:
        with promise(place, tmp_path, TASK) as gate:
            digest = gate.push(COLOR="late")

            def stalled() -> bool:
                promotion = gate.promotion(digest)
                return promotion is not None and promotion.stall is not None

            gate.running.settle(stalled)
            promotion = gate.promotion(digest)
            assert promotion is not None
            assert promotion.stall is not None
            assert promotion.state_name == "stalled"
            assert "too many import requests" in promotion.stall.reason
            alarms = [stored.record for stored in gate.services.ledger.list(Alarm, STALLS) if stored.record.is_active]
            assert [alarm.subject for alarm in alarms] == ["registry base"]
            gate.running.pass_time(3600)
            assert gate.stable() is None
            throttle(place, throttled=False)
            gate.running.pass_time(600)
            gate.running.settle(gate.is_promoted(digest))
            assert gate.stable() == digest
    finally:
        throttle(place, throttled=False)


def throttle(place: Place, *, throttled: bool) -> None:
    """Have the sandbox answer every import into the base registry with 429, or stop that."""
    place.sandbox.throttle_imports(place.base.login_server.partition(".")[0], throttled)


APP = """
apps:
  NAME:
    base: {gate: NAME, tag: 15-alpine}
    build: {registry: base, task: NAME-app, image: "NAME-app:{run}"}
    deploy:
      aci:
        name: NAME
        resource_group: hello-world-aci-rg
        identity: IDENTITY
        port: 80
        cpu: 0.5
        memory_gb: 0.25
        health: {path: /, within: 20s}
"""


@pytest.mark.timeout(900)
def test_a_veto_at_any_step_between_passed_and_live_leaves_the_app_on_the_base_before(
    place: Place, tmp_path: Path
) -> None:
    """Each round pushes a digest, lets one more step be taken than the round before, and vetoes it then."""
    identity = place.make_identity(scenario.CONTAINER_GROUP_RG, "promises")
    with promise(place, tmp_path, TASK, APP.replace("IDENTITY", identity)) as gate:
        place.make_app_task(gate.name)
        good = gate.push(COLOR="good")
        gate.running.settle(lambda: live(gate) == good)
        round_, steps = 0, [""]
        while steps and round_ < 20:
            steps = play_until_vetoed(gate, good, round_)
            round_ += 1
        assert round_ > 8, "a promotion and a rollout have more steps than that"


def live(gate: Promise) -> str | None:
    """The digest of the base of the app's live image."""
    stored = gate.services.ledger.load(AppRecord, gate.name, "app")
    base = stored.record.live.base if stored and stored.record.live else None
    return base.digest if base else None


def play_until_vetoed(gate: Promise, good: Digest, number: int) -> list[str]:
    """Push a digest and veto it behind its step of a number; returns the steps after that, [] where it was live."""
    ledger, seen, vetoed = gate.services.ledger, list[str](), list[bool]()
    bad = Digest("")
    save = type(ledger).commit

    def commit(*changes: object) -> object:
        stored = save(ledger, *changes)  # type: ignore[arg-type]
        record = changes[0].record  # type: ignore[attr-defined]
        if isinstance(record, Promotion | StableTag | Rollout) and bad and not vetoed:
            seen.append(type(record).__name__)
            if len(seen) > number:
                vetoed.append(True)
                with suppress(BasegateError):
                    gate.running.app.operate.vetoes.veto(gate.name, bad, WHO, rollback=True).act()
        return stored

    ledger.commit = commit  # type: ignore[method-assign,assignment]
    try:
        bad = gate.push(COLOR=f"bad {number}")
        gate.running.settle(lambda: bool(vetoed) or live(gate) == bad)
        was_live = live(gate) == bad and not vetoed
        gate.running.pass_time(300)
    finally:
        del ledger.commit
    if was_live:
        return []
    gate.running.settle(lambda: gate.running.queue.waiting == [] or live(gate) == good)
    gate.running.app.sweep.run(gate.services.clock.now() + timedelta(minutes=1))
    gate.running.pass_time(300)
    assert gate.stable() == good, f"vetoed after step {number}, {seen[-1]}"
    assert live(gate) == good, f"vetoed after step {number}, {seen[-1]}"
    with suppress(BasegateError):  # a tag that was rolled back is held
        gate.running.app.operate.gates.lift(gate.name, TAG, WHO).act()
    gate.running.pass_time(60)
    return seen
