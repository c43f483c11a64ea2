"""A gate in busy hands: pushes, operators, changing rules and harm done around it, between sweeps and inside them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from random import Random

import msgspec

from shared.domain.candidate import Candidate, Verdict
from shared.domain.errors import BasegateError
from shared.domain.image import Digest
from shared.domain.policy import Drift, RegistryRule, TaskCheck
from shared.domain.standing import HoldUntil, Veto
from shared.domain.track import Track
from shared.workflow.find import Find
from shared.workflow.operate import Retreat, Who
from shared.workflow.tracks import MOVE_CLAIM_SECONDS
from tests.fakes import ProcessDied, World, digest
from tests.simulation.crowd import SkewedClock

TAG = "15-alpine"
SOURCE, STABLE = ("public", f"node:{TAG}"), ("base", f"node:{TAG}")
WHO = Who.of("ada", "as it pleases")
PERIOD = 300.0
_IMAGES = [digest(f"image {number}") for number in range(6)]


class BusyGate:
    """One world in which everybody acts. Whatever moves the stable tag is judged the moment it does."""

    def __init__(self, seed: int, *, skew_seconds: float = 0.0) -> None:
        self.random, self.world = Random(seed), World()
        self._skew = timedelta(seconds=skew_seconds)
        if skew_seconds:
            self.world.workers_clock = SkewedClock(self.world.clock, self.random, skew_seconds)
            self.world.restart()
        self.faults: list[str] = []
        self._acting, self._depth = False, 0
        self._judge_moves()
        for content in _IMAGES:
            if self.random.random() < 0.25:
                self.world.tasks.failing[content] = "ERROR: Invalid Color: Red"

    def play(self, steps: int = 25) -> None:
        """Let everybody act, with sweeps in between; then only sweeps, under rules that mend."""
        for _ in range(steps):
            self.random.choice((self._push, self._push, self._operate, self._operate, self._harm, self._change_rules))()
            if self.random.random() < 0.6:
                self._sweep_disturbed()
            self._settle(disturbed=True)
            self.world.clock.forward(self.random.choice((1.0, 60.0, PERIOD)))
        self.world.ledger.before_save = None
        self._drift(Drift.REPAIR)
        for _ in range(6):
            self.world.clock.forward(PERIOD)
            self.world.sweep_now(at_once=True)
            self.world.settle(limit=3000)

    @property
    def track(self) -> Track | None:
        """What the ledger says of the stable tag."""
        stored = self.world.ledger.load(Track, "node", TAG)
        return stored.record if stored else None

    @property
    def upstream(self) -> Digest | None:
        """What the tag is upstream."""
        return self.world.registry.tags.get(SOURCE)

    def latest(self, content: Digest) -> Candidate | None:
        """The last attempt at a digest."""
        stored = Find(self.world.services).latest(self.world.policy.gates["node"], content)
        return stored.record if stored else None

    def is_vetoed(self, content: str) -> bool:
        """Whether a veto stands against a digest."""
        vetoes = (stored.record for stored in self.world.ledger.list(Veto, "node"))
        return any(veto.digest == content and veto.stands for veto in vetoes)

    def _push(self) -> None:
        content = self.random.choice(_IMAGES)
        self.world.registry.tags[SOURCE] = content
        event = self.world.event(TAG, content)
        self.world.clock.forward(1)
        if self.random.random() < 0.5:
            self._calmly(lambda: self.world.deliver(event))

    def _operate(self) -> None:
        """An operator does something, or learns that it cannot be done."""
        gates, vetoes, content = self.world.operate.gates, self.world.operate.vetoes, self.random.choice(_IMAGES)
        until = self.random.choice(list(HoldUntil))
        verbs: list[Callable[[], object]] = [
            lambda: gates.hold("node", TAG, until, WHO).act(),
            lambda: gates.lift("node", TAG, WHO).act(),
            lambda: gates.lift("node", TAG, WHO).act(),
            lambda: gates.roll_back("node", TAG, content, until, WHO).act(),
            lambda: vetoes.veto("node", content, WHO, Retreat(wanted=self.random.random() < 0.5)).act(),
            lambda: vetoes.lift("node", content, WHO).act(),
            lambda: self.world.operate.candidates.examine("node", TAG, WHO).act(),
        ]
        self._acting = True
        self._calmly(self.random.choice(verbs))
        self._acting = False

    def _harm(self) -> None:
        """What somebody does around the gate."""
        tags, track = self.world.registry.tags, self.track
        match self.random.randrange(4):
            case 0:
                tags[STABLE] = self.random.choice((*_IMAGES, digest("foreign")))
            case 1:
                tags.pop(STABLE, None)
            case 2 if track is not None:
                for key in [key for key, content in tags.items() if key[0] == "base" and content == track.digest]:
                    del tags[key]
            case _:
                self.world.containers.groups.clear()

    def _change_rules(self) -> None:
        policy = self.world.policy
        match self.random.randrange(4):
            case 0:
                checks = (
                    TaskCheck(registry="base", task="base-import-node", timeout_seconds=self.random.randint(9, 99)),
                )
                self._gate(checks=checks)
            case 1:
                self._drift(self.random.choice(list(Drift)))
            case 2:
                tags = self.random.choice((("15*",), (TAG, "15.*"), (TAG,)))
                self._gate(source=msgspec.structs.replace(policy.gates["node"].source, tags=tags))
            case _:
                rule = policy.registries["public"]
                watched = msgspec.structs.replace(rule, watch_seconds=self.random.choice((0, 900)))
                registries = {**policy.registries, "public": watched}
                self.world.policy = msgspec.structs.replace(policy, registries=registries)
        self.world.restart()

    def _drift(self, drift: Drift) -> None:
        self._gate(drift=drift)
        self.world.restart()

    def _gate(self, **changes: object) -> None:
        gate = msgspec.structs.replace(self.world.policy.gates["node"], **changes)
        self.world.policy = msgspec.structs.replace(self.world.policy, gates={"node": gate})

    def _sweep_disturbed(self) -> None:
        """A sweep in whose middle the process may die, and operators act."""
        self.world.ledger.before_save = self._meanwhile
        try:
            self.world.sweep_now(at_once=True)
        except ProcessDied:
            self.world.restart()
        self.world.ledger.before_save = None

    def _settle(self, *, disturbed: bool) -> None:
        self.world.ledger.before_save = self._meanwhile if disturbed else None
        self.world.settle_while_crashing(limit=3000)
        self.world.ledger.before_save = None

    def _meanwhile(self, _: object) -> None:
        if self._depth or self._acting:
            return
        fate = self.random.random()
        if fate < 0.02:
            raise ProcessDied
        if fate < 0.08:
            self._depth += 1
            self.random.choice((self._operate, self._push))()
            self._depth -= 1

    def _calmly(self, verb: Callable[[], object]) -> None:
        """Do it without anybody dying; what cannot be done is told to whoever asked, and that is all."""
        hook, self.world.ledger.before_save = self.world.ledger.before_save, None
        with suppress(BasegateError):
            verb()
        self.world.ledger.before_save = hook

    def _judge_moves(self) -> None:
        real = self.world.registry.point

        def point(registry: RegistryRule, repository: str, tag: str, digest: Digest) -> None:
            real(registry, repository, tag, digest)
            if (registry.name, f"{repository}:{tag}") == STABLE:
                self._judge(digest)

        self.world.registry.point = point  # type: ignore[method-assign]

    def _judge(self, content: Digest) -> None:
        """What is wrong with a move of the stable tag to a digest."""
        track = self.track
        assert track is not None
        attempts = [candidate for candidate in self.world.candidates() if candidate.digest == content]
        if not any(all(check.verdict is Verdict.PASSED for check in one.checks) for one in attempts):
            self.faults.append(f"{content} never passed")
        if self.is_vetoed(content):
            self.faults.append(f"{content} is vetoed")
        claimed_at = self.world.clock.now()
        if track.moving_until is not None:
            claimed_at = track.moving_until - timedelta(seconds=MOVE_CLAIM_SECONDS)
        hold = track.hold if track.hold is not None and track.hold.at < claimed_at - 2 * self._skew else None
        held = hold is not None and hold.until is HoldUntil.LIFTED
        if held and not self._acting and content != track.digest:
            self.faults.append(f"the tag is held on {track.digest} and came to {content}")
