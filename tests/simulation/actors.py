"""The actors besides the app: upstream publishers, Event Grid, operators, and those who bypass the gate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from random import Random
from typing import Any

from shared.domain.candidate import Candidate, CandidateState
from shared.domain.image import Digest
from shared.domain.policy import Gate, RegistryRule
from shared.domain.promotion import Promotion, PromotionState
from shared.domain.rollout import Rollout
from shared.domain.stable_tag import HoldUntil, StableTag
from shared.intake.hints import recognize
from shared.operations import Plan, Who
from shared.ports import OutputImage
from tests.simulation.host import Host
from tests.simulation.judge import Decision, Judge
from tests.simulation.outside import Outside, TaskRun, digest
from tests.simulation.rules import BASE, HUB, MAIN_TAG, PUBLIC, PUSHING_TASK, SECOND_TAG, TEAM, Rules
from tests.simulation.scheduler import Scheduler
from tests.simulation.story import Story

WHO = Who.of("ada", "as it pleases")
_MANY_TAGS = 50
_FLOOD = 40
_FRAILTY, _LIFT_FRAILTY = 5.0, 25.0
"""Operators' calls are few: they die more often than others, most of all when a decision is ended first and what it
blocked continues afterwards."""

Place = tuple[str, tuple[str, str]]
_DELETED = "Microsoft.ContainerRegistry.ImageDeleted"
_DELAYS = (0.1, 0.5, 2.0, 5.0, 60.0, 400.0)


class Publishers:
    """Push, withdraw and recreate tags at the sources; Event Grid delivers the events unreliably."""

    def __init__(self, outside: Outside, scheduler: Scheduler, random: Random, story: Story) -> None:
        self._outside, self._scheduler, self._random, self._story = outside, scheduler, random, story
        self.host: Host
        self.rules: Rules
        self.counts: Counter[str] = Counter()
        self.pushed: dict[str, list[Digest]] = {PUBLIC: [], HUB: []}
        self._events = 0

    def act(self) -> None:
        """Do one thing upstream."""
        server = PUBLIC if self._random.random() < 0.8 else HUB
        repository = "node" if server == PUBLIC else "library/node"
        tag = self._random.choice((MAIN_TAG, MAIN_TAG, MAIN_TAG, SECOND_TAG)) if server == PUBLIC else "lts"
        fate = self._random.random()
        known = self.pushed[server]
        if fate < 0.12 and known:
            self.push(server, repository, tag, self._random.choice(known[-3:]), "returned or tagged again")
        elif fate < 0.20 and (server, f"{repository}:{tag}") in self._outside.registry.tags:
            self._withdraw(server, repository, tag)
        elif fate < 0.28 and known and server == PUBLIC:
            self._forge(server, repository, tag)
        else:
            self.push(server, repository, tag, self.new_digest(server), "push")

    def new_digest(self, server: str) -> Digest:
        """A new image; the verdict of each check on it is decided here."""
        number = sum(map(len, self.pushed.values())) + 1
        name = f"image{number}"
        content = digest(name)
        self.pushed[server].append(content)
        for task in ("import", "scan", PUSHING_TASK):
            if self._random.random() < 0.12:
                self._outside.tasks.bad.add((task, content))
                name += f"(bad for {task})"
        self._story.name(content, name)
        return content

    def push(self, server: str, repository: str, tag: str, content: Digest, kind: str) -> None:
        """Push, and send the event."""
        self.counts[kind] += 1
        self._story.tell(f"PUSH {server}/{repository}:{tag} is {content}")
        self._outside.registry.set(server, f"{repository}:{tag}", content, "publisher")
        if server == PUBLIC:
            self.tell(server, repository, tag, content)

    def push_many(self) -> None:
        """Push one digest under fifty tags."""
        content = self.new_digest(PUBLIC)
        self.counts["a digest under fifty tags"] += 1
        for number in range(_MANY_TAGS):
            self.push(PUBLIC, "node", f"15.{number}", content, "push")

    def flap(self) -> None:
        """Let a tag alternate between two digests."""
        two = [self.new_digest(PUBLIC), self.new_digest(PUBLIC)]
        self.counts["flapping tag"] += 1
        for number in range(self._random.choice((4, 9))):
            at, content = number * self._random.uniform(20.0, 200.0), two[number % 2]
            self._scheduler.after(at, partial(self.push, PUBLIC, "node", MAIN_TAG, content, "returned or tagged again"))

    def flood(self) -> None:
        """Send very many events about one tag at once, all of them forged."""
        self.counts["flood of forged events"] += 1
        self._story.tell("FLOOD of forged events")
        for number in range(_FLOOD):
            event = self._event(PUBLIC, "node", MAIN_TAG, digest(f"flood {number}"))
            self._deliver(event, 3.0 * self._random.random())

    def deleted(self, server: str, repository: str, content: Digest) -> None:
        """Let Event Grid report the deletion of an image, in most cases."""
        if self._random.random() < 0.6:
            self.counts["event of a deletion"] += 1
            event = self._event(server, repository, "", content) | {"eventType": _DELETED}
            self._deliver(event, self._random.choice(_DELAYS))

    def _withdraw(self, server: str, repository: str, tag: str) -> None:
        """Delete a tag; in most cases it is created again, with the same digest or another one."""
        was = self._outside.registry.tags[(server, f"{repository}:{tag}")]
        self.counts["withdrawn"] += 1
        self._story.tell(f"WITHDRAW {server}/{repository}:{tag}")
        self._outside.registry.set(server, f"{repository}:{tag}", None, "publisher")
        if self._random.random() < 0.8:
            again = was if self._random.random() < 0.5 else self.new_digest(server)
            wait = self._random.choice((5.0, 200.0, 900.0))
            self._scheduler.after(wait, lambda: self.push(server, repository, tag, again, "created again"))

    def _forge(self, server: str, repository: str, tag: str) -> None:
        """Send a forged event with a valid registry: the digest is another tag's, or does not exist."""
        known = self.pushed[server]
        content = self._random.choice((*known, digest("never pushed")))
        self.counts["forged"] += 1
        self._story.tell(f"FORGED event: {tag} is {content}")
        self._deliver(self._event(server, repository, tag, content), self._random.choice(_DELAYS))

    def tell(self, server: str, repository: str, tag: str, content: Digest) -> None:
        """Let Event Grid report a push: not at all, once, or several times, late and out of order."""
        fate, event = self._random.random(), self._event(server, repository, tag, content)
        if fate < 0.2:
            self.counts["event lost"] += 1
            return
        delay = self._random.choice(_DELAYS) if fate < 0.6 else 0.2
        self.counts["event delayed"] += delay > 1
        self._deliver(event, delay)
        if fate > 0.75:
            self.counts["event duplicated"] += 1
            self._deliver(event, self._random.choice(_DELAYS))
        if fate > 0.9:
            self.counts["event replicated"] += 1
            later = self._event(server, repository, tag, content)
            later["data"]["timestamp"] = later["eventTime"] = "2031-01-01T00:00:00Z"
            self._deliver(later, self._random.choice((300.0, 1800.0)))

    def _event(self, server: str, repository: str, tag: str, content: Digest) -> dict[str, Any]:
        self._events += 1
        rule = self.rules.now.registry_at(server)
        target = {"repository": repository, "digest": content, "tag": tag}
        return {
            "id": f"event-{self._events}",
            "topic": rule.id if rule else "",
            "eventType": "Microsoft.ContainerRegistry.ImagePushed",
            "eventTime": "2026-01-01T00:00:00Z",
            "data": {"timestamp": "2026-01-01T00:00:00Z", "action": "push", "target": target},
        }

    def _deliver(self, event: dict[str, Any], delay: float) -> None:
        def arrive() -> None:
            for one in recognize(event, self.rules.now):
                if one.hint is not None:
                    self.host.deliver(one.hint, 0.0)

        self._scheduler.after(delay, arrive)

    # pushes of runs -------------------------------------------------------------------------------------------------

    def ran(self, run: TaskRun, judge: Judge) -> None:
        """Handle a run that has succeeded: a build pushes its image, a gate's own task moves the tags."""
        if run.task in ("hello", "web"):
            self._built(run, judge)
        elif run.task == PUSHING_TASK:
            self._promoted_by_task(run)

    def _built(self, run: TaskRun, judge: Judge) -> None:
        content = digest(f"{run.task} of run {run.run_id}")
        self._story.name(content, f"{run.task}-{run.run_id}")
        self._outside.registry.set(TEAM, f"{run.task}:{run.run_id}", content, "build")
        run.pushed = (OutputImage(TEAM, run.task, run.run_id, content),)
        judge.built(run.task, content)
        if self._random.random() < 0.1:
            self._outside.containers.sick.add(content)
            self.counts["unhealthy image"] += 1
        if self._random.random() < 0.8:
            self.tell(TEAM, run.task, run.run_id, content)

    def _promoted_by_task(self, run: TaskRun) -> None:
        content, tag = Digest(run.values["IMAGE"].rpartition("@")[2]), run.values["TAG"]
        self.counts["promoted by task"] += 1
        self._story.tell(f"the task pushes {content} under {tag}-{run.run_id} and {tag}")
        for name in (f"{tag}-{run.run_id}", tag):
            self._outside.registry.set(run.server, f"node:{name}", content, "task")

    def commit(self) -> None:
        """Commit to the app: its task starts a run."""
        self.counts["commit of an app"] += 1
        self._story.tell("COMMIT: a run of hello begins")
        self._outside.tasks.begin(TEAM, "hello", {}, "")

    def foreign_image(self) -> None:
        """Push a foreign image under a run-like tag of the app's repository: no run has that id, or a run has it."""
        runs = [run_id for server, run_id in self._outside.tasks.runs if server == TEAM]
        tag = self._random.choice(runs) if runs and self._random.random() < 0.5 else "cazz"
        content = digest(f"foreign app {tag}")
        self._story.name(content, f"foreign-app-{tag}")
        self.counts["foreign image under a run-like tag"] += 1
        self._story.tell(f"FOREIGN hello:{tag} is {content}")
        self._outside.registry.set(TEAM, f"hello:{tag}", content, "foreign")
        self.tell(TEAM, "hello", tag, content)


class Foreigners:
    """Those who bypass the gate."""

    def __init__(self, outside: Outside, random: Random, judge: Judge, story: Story, publishers: Publishers) -> None:
        self._outside, self._random, self._judge, self._story = outside, random, judge, story
        self._publishers = publishers
        self.counts: Counter[str] = Counter()

    def act(self) -> None:
        """Change or delete something in the target registry, or a container group."""
        verbs = (self._stable, self._stable, self._unique, self._delete_stable, self._delete_image, self._kill)
        self._random.choice(verbs)()

    def _stable(self) -> None:
        record = self._any_stable()
        if record is None:
            return
        known = sorted(self._outside.registry.manifests[(BASE, record[0])])
        foreign = digest("foreign")
        self._story.name(foreign, "foreign")
        content = self._random.choice((*known, foreign))
        self._set(record[0], record[1].tag, content, "foreign push to a stable tag")

    def _unique(self) -> None:
        record = self._any_stable()
        if record is not None and record[1].unique:
            foreign = digest("foreign")
            self._set(record[0], record[1].unique, foreign, "foreign push to a unique tag")

    def _delete_stable(self) -> None:
        record = self._any_stable()
        if record is not None:
            self._set(record[0], record[1].tag, None, "deleted tag")
            self._publishers.deleted(BASE, record[0], record[1].digest or digest("foreign"))

    def _delete_image(self) -> None:
        record = self._any_stable()
        if record is None or record[1].digest is None:
            return
        self.counts["deleted image"] += 1
        self._story.tell(f"FOREIGN deletes {record[1].digest} of {record[0]}")
        for place, content in list(self._outside.registry.tags.items()):
            if content == record[1].digest and place[0] == BASE:
                self._judge.harmed.add(place)
        self._outside.registry.delete_image(BASE, record[0], record[1].digest)
        self._publishers.deleted(BASE, record[0], record[1].digest)

    def _kill(self) -> None:
        groups = self._outside.containers.groups
        if not groups:
            return
        name = self._random.choice(sorted(groups))
        if self._random.random() < 0.5:
            groups[name].killed = True
            self.counts["killed container"] += 1
        else:
            del groups[name]
            self.counts["deleted container group"] += 1
        self._story.tell(f"FOREIGN kills {name}")

    def _set(self, repository: str, tag: str, content: Digest | None, kind: str) -> None:
        place = (BASE, f"{repository}:{tag}")
        self.counts[kind] += 1
        self._story.tell(f"FOREIGN {repository}:{tag} is {content or 'gone'}")
        self._outside.registry.locked.discard(place)
        self._judge.harmed.add(place)
        self._outside.registry.set(*place, content, "foreign")

    def _any_stable(self) -> tuple[str, StableTag] | None:
        records = list(self._outside.ledger.all(StableTag))
        if not records:
            return None
        record = self._random.choice(records)
        gate = self._judge.gate(record.gate)
        return (gate.promote.repository, record) if gate else None


class Operators:
    """Operators act in their own invocations; the judge records what they decided, and when their calls returned."""

    def __init__(
        self, outside: Outside, scheduler: Scheduler, random: Random, judge: Judge, host: Host, story: Story
    ) -> None:
        self._outside, self._scheduler, self._random = outside, scheduler, random
        self._judge, self._host, self._story = judge, host, story
        self.asked: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self._verbs: dict[str, Callable[[], None]] = {
            "hold": self._hold,
            "lift": self._lift,
            "veto": self._veto,
            "veto with rollback": lambda: self._veto(back=True),
            "lift veto": self._lift_veto,
            "rollback": self._roll_back,
            "app rollback": self._app_rollback,
            "redeploy": self._redeploy,
            "rebuild": self._rebuild,
            "rerun": self._rerun,
            "examine": self._examine,
            "approve": self._approve,
            "reject": lambda: self._approve(rejected=True),
            "cancel": self._cancel,
            "cancel rollout": self._cancel_rollout,
        }

    def act(self) -> None:
        """Perform a random operation, which may be refused."""
        often = ("approve", "veto", "hold", "lift", "lift veto", "rollback")
        weights = [3 if name in often else 1 for name in self._verbs]
        name = self._random.choices(list(self._verbs), weights)[0]
        self._verbs[name]()

    def approve_all(self) -> bool:
        """Approve all that waits for approval; returns whether there was anything."""
        waiting = [one for one in self._outside.ledger.all(Candidate) if one.state is CandidateState.AWAITING_APPROVAL]
        for one in waiting:
            self._answer(one, rejected=False)
        return bool(waiting)

    # -----------------------------------------------------------------------------------------------------------------

    def _do(
        self, verb: str, plan: Callable[[], Plan], decision: Decision | None = None, ends: Iterable[Place] = ()
    ) -> None:
        """Plan and act, in a separate invocation.

        `decision` is in force once that returns. `ends` are the decisions that it ends: while it is in progress it is
        unknown whether they, and others made there meanwhile, are in force.
        """
        self.asked[verb] += 1
        self._story.tell(f"OPERATOR calls: {verb} {decision.place if decision else ''}")
        ends = list(ends)
        for place in ends:
            self._judge.ending[place] += 1

        acted = []

        def work() -> None:
            planned = plan()
            acted.append(verb)
            if decision is not None:
                decision.begun_at = self._scheduler.seconds
                self._judge.decisions.append(decision)
            planned.act()
            if decision is not None:
                decision.returned_at = self._scheduler.seconds

        def end(error: BaseException | None) -> None:
            self.done[verb] += error is None
            self._story.tell(f"OPERATOR {verb}: {'done' if error is None else error or 'died'}")
            for place in ends:
                self._judge.ending[place] -= 1
                if acted:
                    self._end(*place, but=decision)

        self._host.run(f"operator ({verb})", work, end).frailty = _LIFT_FRAILTY if ends else _FRAILTY

    def _lifting(self, verb: str, decision: Place, plan: Callable[[], Plan]) -> None:
        """End a decision."""
        self._do(verb, plan, ends=(decision,))

    def _operated(self, gate: str) -> None:
        self._judge.operations[gate] += 1

    def _end(self, what: str, place: tuple[str, str], but: Decision | None = None) -> None:
        """Record that a decision has ended, or may have."""
        for one in self._judge.decisions:
            if one is not but and one.what == what and one.place == place and one.ended_at is None:
                one.ended_at = self._scheduler.seconds

    def _stable_key(self) -> tuple[str, str] | None:
        moving = [(one.gate, one.tag) for one in self._under_way()]
        if moving and self._random.random() < 0.5:
            return self._random.choice(moving)
        records = [(one.gate, one.tag) for one in self._outside.ledger.all(StableTag)]
        if records and self._random.random() < 0.7:
            return self._random.choice(records)
        return ("node", MAIN_TAG) if "node" in self._host.app().services.policy.gates else None

    def _hold(self) -> None:
        key, until = self._stable_key(), self._random.choice(list(HoldUntil))
        if key is not None:
            operate = self._host.app().operate.gates
            self._do("hold", lambda: operate.hold(key[0], key[1], until, WHO), Decision("hold", key, until))

    def _lift(self) -> None:
        held = [(one.gate, one.tag) for one in self._outside.ledger.all(StableTag) if one.hold is not None]
        key = self._random.choice(held) if held else self._stable_key()
        if key is not None:
            operate = self._host.app().operate.gates
            self._lifting("lift", ("hold", key), lambda: operate.lift(key[0], key[1], WHO))

    def _under_way(self) -> list[Promotion]:
        return [one for one in self._outside.ledger.all(Promotion) if one.state is PromotionState.PROMOTING]

    def _digest(self, gate: str) -> Digest | None:
        """A digest that is being promoted now, or any."""
        moving = [one.digest for one in self._under_way() if one.gate == gate]
        if moving and self._random.random() < 0.6:
            return self._random.choice(moving)
        known = sorted({one.digest for one in self._outside.ledger.all(Promotion) if one.gate == gate})
        return self._random.choice(known) if known else None

    def _gate(self) -> Gate | None:
        gates = list(self._host.app().services.policy.gates.values())
        return self._random.choice(gates) if gates else None

    def _veto(self, *, back: bool = False) -> None:
        gate = self._gate()
        content = self._digest(gate.name) if gate else None
        if gate is None or content is None:
            return
        app = self._host.app()
        until = self._random.choice(list(HoldUntil))
        decision = Decision("veto", (f"{BASE}/{gate.promote.repository}", content))
        verb = "veto with rollback" if back else "veto"
        held = [("hold", (one.gate, one.tag)) for one in self._outside.ledger.all(StableTag)] if back else []
        veto = app.operate.vetoes.veto
        self._do(verb, lambda: veto(gate.name, content, WHO, rollback=back, until=until), decision, held)

    def _lift_veto(self) -> None:
        standing = [one for one in self._judge.decisions if one.what == "veto" and one.ended_at is None]
        gate = self._gate()
        here = [one for one in standing if gate and one.place[0] == f"{BASE}/{gate.promote.repository}"]
        if gate is None or not here:
            return
        veto, app = self._random.choice(here), self._host.app()
        for one in self._host.app().services.policy.gates:
            self._operated(one)
        content = veto.place[1]
        self._lifting("lift veto", ("veto", veto.place), lambda: app.operate.vetoes.lift(gate.name, content, WHO))

    def _roll_back(self) -> None:
        key = self._stable_key()
        content = self._digest(key[0]) if key else None
        if key is None or content is None:
            return
        until, app = self._random.choice(list(HoldUntil)), self._host.app()
        decision = Decision("hold", key, until)
        plan = partial(app.operate.gates.roll_back, key[0], key[1], content, until, WHO)
        self._do("rollback", plan, decision, [("hold", key)])  # it replaces an earlier one

    def _app_rollback(self) -> None:
        app = self._host.app()
        self._do("app rollback", lambda: app.operate.apps.roll_back("hello", WHO))
        if self._random.random() < 0.5:
            self._scheduler.after(60.0, self._app_rollback)

    def _redeploy(self) -> None:
        rollouts = [one for one in self._outside.ledger.all(Rollout) if one.app == "hello" and one.image is not None]
        image = self._random.choice(rollouts).image if rollouts else None
        app = self._host.app()
        if image is not None:
            self._do("redeploy", lambda: app.operate.apps.redeploy("hello", image.digest, WHO))

    def _rebuild(self) -> None:
        app = self._host.app()
        self._do("rebuild", lambda: app.operate.apps.rebuild("hello", WHO))

    def _candidate(self, *states: CandidateState) -> Candidate | None:
        found = [one for one in self._outside.ledger.all(Candidate) if not states or one.state in states]
        return self._random.choice(found) if found else None

    def _rerun(self) -> None:
        candidate, app = self._candidate(), self._host.app()
        if candidate is not None:
            self._operated(candidate.gate)
            self._do("rerun", lambda: app.operate.candidates.rerun(candidate.id, WHO))

    def _examine(self) -> None:
        gate, app = self._gate(), self._host.app()
        if gate is not None:
            self._operated(gate.name)
            tag = MAIN_TAG if gate.name == "node" else "lts"
            self._do("examine", lambda: app.operate.candidates.examine(gate.name, tag, WHO))

    def _approve(self, *, rejected: bool = False) -> None:
        candidate = self._candidate(CandidateState.AWAITING_APPROVAL)
        if candidate is not None:
            self._answer(candidate, rejected=rejected)

    def _answer(self, candidate: Candidate, *, rejected: bool) -> None:
        operate = self._host.app().operate.candidates
        if rejected:
            self._do("reject", lambda: operate.reject(candidate.id, WHO))
        else:
            self._judge.approved.add((candidate.gate, candidate.row))
            self._do("approve", lambda: operate.approve(candidate.id, WHO))

    def _cancel(self) -> None:
        candidate, app = self._candidate(), self._host.app()
        if candidate is not None:
            self._do("cancel", lambda: app.operate.candidates.cancel(candidate.id, WHO))

    def _cancel_rollout(self) -> None:
        rollouts = [one for one in self._outside.ledger.all(Rollout) if not one.settled]
        app = self._host.app()
        if rollouts:
            rollout = self._random.choice(rollouts)
            self._do("cancel rollout", lambda: app.operate.apps.cancel(rollout.id, WHO))


def lagging(outside: Outside, random: Random, rule: RegistryRule) -> float:
    """Let the replicas of a source lag; returns the maximum lag in seconds."""
    outside.tags.lag[rule.login_server] = seconds = random.choice((5.0, 40.0, 100.0))
    return seconds
