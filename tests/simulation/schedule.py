"""One seed: a random schedule, played to its end."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.stable_tag import StableTag
from shared.domain.targets.aci import AciRule
from tests.simulation.actors import Foreigners, Operators, Publishers, lagging
from tests.simulation.calls import Calls, Chaos, Clock
from tests.simulation.ends import Ends
from tests.simulation.host import Host
from tests.simulation.judge import Judge, Violation
from tests.simulation.outside import LimitError, Outside
from tests.simulation.rules import BASE, HUB, OTHER, PUBLIC, TEAM, Rules, scans_again
from tests.simulation.scanner import Scanner
from tests.simulation.scheduler import Scheduler, TooLong
from tests.simulation.story import Story

SWEEP_SECONDS = 300.0
_CALM_HOUR = 12
CALM_SECONDS = 26 * 3600.0
_AFTER_THE_DAY = 9000.0
CALM_CALLS = 60_000

_AIMED = {
    "point": 0.5, "commit": 0.4, "lock": 0.5, "start_copy": 0.3, "start": 0.3, "put": 0.3, "remove_tag": 0.5,
    "save": 0.05, "insert": 0.1, "load": 0.02, "digest_of": 0.1,
}  # fmt: skip
"""The probability that a waiting action happens at such a call, by method."""
_PLACES = (
    "ledger", "topic", "webhook", "containers", "archive",
    f"tags@{PUBLIC}", f"tags@{HUB}", f"tags@{BASE}", f"registry@{BASE}", f"registry@{TEAM}",
    f"tasks@{BASE}", f"tasks@{OTHER}", f"tasks@{TEAM}",
)  # fmt: skip
_RESCANS = 0.015
"""The share of schedules with rescans, each of which takes a third longer."""
_SHORT = (60.0, 600.0)
_LONG = (600.0, 3600.0, 4 * 3600.0)


@dataclass
class Result:
    """The result of a schedule."""

    seed: int
    violations: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    story: Story | None = None


class Schedule:
    """A world, its actors, and a plan of what happens when."""

    def __init__(self, seed: int, *, recorded: bool = False, rescans: bool = False) -> None:
        self.seed = seed
        self.random = random = Random(seed)
        self.scheduler = scheduler = Scheduler()
        self.story = Story(scheduler, recorded=recorded)
        growth = Random(f"growth {seed}")  # separate, so that the rest of the schedule stays the same
        self._learning = Random(f"rescans {seed}")
        self._rescans = rescans or self._learning.random() < _RESCANS
        self.rules = Rules(random, purges=growth.random() < 0.5, rescans=self._rescans)
        self.keep = growth.choice((*(timedelta(days=400),) * 4, timedelta(minutes=5), timedelta(minutes=40)))
        self.host = Host(scheduler, self.rules, random, self.story)
        self.outside = Outside(scheduler, random, self.host.deliver)
        self.chaos = Chaos(random)
        self.scanner = Scanner(scheduler)
        self.calls = Calls(scheduler, self.outside, self.chaos, self.story)
        self.judge = Judge(scheduler, self.outside, self.rules)
        self.publishers = Publishers(self.outside, scheduler, random, self.story)
        self.foreigners = Foreigners(self.outside, random, self.judge, self.story, self.publishers)
        self.operators = Operators(self.outside, scheduler, random, self.judge, self.host, self.story)
        self._watched_longer = growth.random() < 0.2  # whether the right final state lasts through another sweep
        self._aimed: list[Callable[[], object]] = []
        self._calm_from = 0
        self._wire()

    def play(self) -> Result:
        """Play it: the part with faults, then the calm part."""
        with _seeded_nonces(self.random):
            try:
                self._disturbed()
                if not self.judge.violations:
                    self._calm()
            except (Violation, LimitError, TooLong) as error:
                self.judge.violated(str(error))
            finally:
                self.scheduler.close()
        return self._result()

    def _wire(self) -> None:
        self.publishers.host, self.publishers.rules = self.host, self.rules
        ports = self.calls.ports | {"clock": Clock(self.scheduler), "keep": self.keep}
        listeners = {name: ports.pop(name) for name in ("topic", "webhook")}
        self.host.ports = ports | {"listeners": listeners, "targets": {AciRule.kind: ports.pop("containers")}}
        self.host.crashed = self.judge.violated
        self.calls.reading, self.calls.acting = self.judge.reading, self.judge.acting
        self.calls.between, self.calls.waiting = self._between, self._aimed
        self.outside.tasks.ended = lambda run: self.publishers.ran(run, self.judge)
        tasks, random = self.outside.tasks, self.random
        tasks.log_of = self.scanner.log_of
        tasks.broken, tasks.hangs = random.choice((0.0, 0.05, 0.2)), random.choice((0.0, 0.0, 0.05))
        self.outside.registry.copies_fail = random.choice((0.0, 0.0, 0.1))
        self.outside.containers.recreates = random.choice((0.0, 0.05))
        self.outside.webhook.refused = random.choice((0.0, 0.0, 0.05))
        if random.random() < 0.02:
            self.scheduler.after(random.random() * 1200.0, self._listener_away)

    # the part with faults -------------------------------------------------------------------------------------------

    def _disturbed(self) -> None:
        random, length = self.random, self.random.choice((900.0, 1500.0, 2100.0))
        plan = self.scheduler.after
        for _ in range(random.randint(4, 9)):
            plan(random.random() * length, self.publishers.act)
        if random.random() < 0.01:
            plan(random.random() * length, self._push_many)
        if random.random() < 0.06:
            plan(random.random() * length, self.publishers.flap)
        if random.random() < 0.02:
            plan(random.random() * length, self.publishers.flood)
        self._plan_acts(length)
        for _ in range(4 if self._rescans else 0):
            plan(self._learning.random() * length, self._learn)
        for _ in range(random.choice((0, 1, 1, 2, 3))):
            plan(random.random() * length, self._break_something)
        period = random.choice((1, 2, 3)) * SWEEP_SECONDS
        for at in range(int(length / period)):
            plan((at + random.random()) * period, self.host.sweep)
        self._run_until(length)

    def _push_many(self) -> None:
        gate = self.rules.now.gates.get("node")
        if gate is not None and gate.takes("15.0"):
            self.publishers.push_many()

    def _plan_acts(self, length: float) -> None:
        """Schedule actions: some run at a time, others in the middle of a worker's step."""
        random = self.random
        acts: list[Callable[[], object]] = [self.operators.act] * random.randint(4, 12)
        acts += [self.foreigners.act] * random.choice((0, 1, 2, 3))
        acts += [self._change_rules] * random.choice((0, 0, 1, 2))
        acts += [self.publishers.commit] * random.choice((0, 1))
        acts += [self.publishers.foreign_image] * random.choice((0, 0, 1))
        for act in acts:
            at = random.random() * length
            self.scheduler.after(at, partial(self._aim, act))

    def _aim(self, act: Callable[[], object]) -> None:
        """Run an action now, or between two outside calls where it may do harm."""
        if self.random.random() < 0.6:
            self._aimed.append(act)
        else:
            act()

    def _between(self, port: str, method: str) -> None:
        """Run a waiting action between two outside calls."""
        if self.random.random() < _AIMED.get(method, 0.0):
            worker, self.scheduler.current = self.scheduler.current, None
            self._aimed.pop()()
            self.scheduler.current = worker
            self.chaos.struck["in the middle of a step"] += 1
            self.scheduler.sleep(self.random.choice((0.0, 0.3, 2.0, 6.0)))

    def _learn(self) -> None:
        """The database of the scanner changes, for an image that is promoted by a gate that scans again."""
        gates, known = self.rules.now.gates, self.scanner.vulnerable
        stables = [one for one in self.outside.ledger.all(StableTag) if one.gate in gates and one.digest]
        found = [one.digest for one in stables if one.digest and scans_again(gates[one.gate])]
        if self.host.calm and not known.issuperset(found):
            found = [content for content in found if content not in known]
        if found:
            self.scanner.learn(content := self._learning.choice(found))
            self.story.tell(f"SCANNER: {content} is {'' if content in known else 'not '}vulnerable")

    def _change_rules(self) -> None:
        changed = self.rules.change()
        if changed:
            self.chaos.struck[changed] += 1
            self.story.tell(f"RULES change: {changed}")

    def _break_something(self) -> None:
        """Begin an outage of minutes or hours, lock a stable tag, or let replicas lag."""
        random, now = self.random, self.scheduler.seconds
        fate = random.random()
        if fate < 0.25:
            rule = random.choice([self.rules.now.registry_at(PUBLIC), self.rules.now.registry_at(HUB)])
            if rule is not None:
                seconds = lagging(self.outside, random, rule)
                self.story.tell(f"LAG of {rule.login_server}: {seconds} s")
                self.scheduler.after(random.choice(_SHORT), lambda: self.outside.tags.lag.pop(rule.login_server, None))
            return
        if fate < 0.32:
            self.host.queue_away_until = now + random.choice(_SHORT)
            self.chaos.struck["queue away"] += 1
            return
        place = random.choice(_PLACES)
        how = "away" if place == "ledger" else random.choice(("away", "throttled", "forbidden", "locked"))
        if how == "locked" and place != f"registry@{BASE}":
            how = "away"
        seconds = random.choice(_SHORT if place == "ledger" or random.random() < 0.5 else _LONG)
        self.story.tell(f"OUTAGE: {place} is {how} for {seconds:.0f} s")
        self.chaos.away[place] = (how, now + seconds)
        self.chaos.struck["outage longer than any retry"] += seconds >= 3600

    def _listener_away(self) -> None:
        """Make a listener unavailable for a day, which lasts into the calm part."""
        self.chaos.away_for_long["topic"] = ("away", self.scheduler.seconds + 86_400.0)
        self.chaos.struck["listener away for a day"] += 1

    # the calm part --------------------------------------------------------------------------------------------------

    def _calm(self) -> None:
        """Play without faults. Within bounded time and steps the final state must be right."""
        self._calm_down()
        begun, calls = self.scheduler.seconds, self.calls.made
        self._calm_from = calls
        right = False
        round_number = 0
        self._run_until(begun + SWEEP_SECONDS)  # the leases of dead workers have expired then
        while not right and self.scheduler.seconds - begun < CALM_SECONDS and self.calls.made - calls < CALM_CALLS:
            round_number += 1
            self.host.sweep()
            self._run_until(self.scheduler.seconds + self._step(round_number, self.scheduler.seconds - begun))
            if self.judge.violations:
                return
            self.operators.approve_all()
            if round_number > 1 or not self._watched_longer:
                right = next(self._wrong(), None) is None
        for one in [] if right else self._wrong():
            self.judge.violated(f"the final state is wrong: {one}")

    def _wrong(self) -> Iterator[str]:
        return Ends(self.host.app(), self.outside, self.judge, self.scanner).wrong()

    def _calm_down(self) -> None:
        self.story.tell("CALM: no more faults")
        self.chaos.calm_down()
        self.host.calm = True
        self.host.queue_away_until = 0.0
        self._aimed.clear()
        self.rules.settle()
        if self._rescans:
            self._learn()
        self.outside.tags.lag.clear()
        self.outside.tasks.broken = self.outside.tasks.hangs = 0.0
        self.outside.registry.copies_fail = self.outside.containers.recreates = 0.0

    def _step(self, round_number: int, passed: float) -> float:
        """The seconds between sweeps: five minutes for an hour, then longer, for what waits for a day; and five minutes
        again after it, for what follows from that.
        """
        waits = round_number >= _CALM_HOUR and passed < CALM_SECONDS - _AFTER_THE_DAY
        return 24 * SWEEP_SECONDS if waits else SWEEP_SECONDS

    def _run_until(self, end: float) -> None:
        scheduler = self.scheduler
        while scheduler.next_at is not None and scheduler.next_at <= end and not self.judge.violations:
            scheduler.run_until(min(end, scheduler.next_at + 5.0))
        scheduler.run_until(end) if not self.judge.violations else None

    # the result -----------------------------------------------------------------------------------------------------

    def _result(self) -> Result:
        counts: Counter[str] = Counter()
        for part in (self.chaos.struck, self.publishers.counts, self.foreigners.counts, self.host.counts):
            counts.update(part)
        counts.update({f"operator: {verb}": n for verb, n in self.operators.done.items()})
        counts["outcome refused"] = self.outside.webhook.rejections
        alarms = self.outside.ledger.all(Alarm) if self._rescans else ()
        counts["image at risk"] = sum(one.kind is AlarmKind.AT_RISK for one in alarms)
        counts["purged"] = self.outside.ledger.purged
        counts["stale answer of a replica"] = self.outside.tags.stale
        counts.update({"# outside calls": self.calls.made, "# workers": self.host.most_at_once, "# schedules": 1})
        counts["# outside calls, disturbed"] = self._calm_from
        counts["# pushes"] = sum(
            self.publishers.counts[kind] for kind in ("push", "created again", "returned or tagged again")
        )
        story = self.story if self.story.recorded else None
        return Result(self.seed, [self.story.readable(one) for one in self.judge.violations], counts, story)


@contextmanager
def _seeded_nonces(random: Random) -> Iterator[None]:
    """Take the app's random marks from the seed, so that a schedule is the same every time."""
    real: Any = secrets.token_hex
    secrets.token_hex = lambda nbytes=None: f"{random.getrandbits(8 * (nbytes or 32)):0{2 * (nbytes or 32)}x}"
    try:
        yield
    finally:
        secrets.token_hex = real
