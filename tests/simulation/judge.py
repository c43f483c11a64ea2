"""The judge: an independent record of what really happened, and the invariants that are checked at every effect.

It does not trust the decisions of the core: whether a digest was read at its source, passed, or was claimed before or
after a decision, it derives from the calls themselves and from the external services.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import msgspec

from shared.checks.task import RunsTask, TaskCheck
from shared.domain.candidate import VERDICTS, Candidate, CandidateState, attempts_of
from shared.domain.image import ImageRef
from shared.domain.observation import Observation
from shared.domain.outcome import Delivery
from shared.domain.policy import Gate, Policy
from shared.domain.promotion import Promotion, PromotionState
from shared.domain.record import Record
from shared.domain.rollout import AppRecord, BuiltImage, Rollout, RolloutState
from shared.domain.stable_tag import HoldUntil, StableTag, Veto, veto_partition, veto_row
from shared.domain.sweep import SweepRecord
from shared.ports import Change, Removal
from tests.simulation.outside import Outside
from tests.simulation.rules import Rules
from tests.simulation.scheduler import Scheduler

TagKey = tuple[str, str]
_FOR_NOTHING = frozenset((CandidateState.SUPERSEDED, CandidateState.RULE_REMOVED))
_RUNS_A_DAY = 4
_DAY = 80_000.0
_RESCANS = "basegate-rescan/"
_LATE = 60.0
"""A worker that points a tag so long after its claim was paused: another may have the message and the claim by then."""


class Violation(AssertionError):
    """An invariant is violated."""


class Decision(msgspec.Struct):
    """A standing decision: begun, returned (None: unknown), and when its end began (None: it is in force)."""

    what: str
    place: tuple[str, str]
    until: HoldUntil = HoldUntil.LIFTED
    begun_at: float = 0.0
    returned_at: float | None = None
    ended_at: float | None = None

    def stood_at(self, moment: float) -> bool:
        """Whether it was certainly in force from a moment on."""
        return self.returned_at is not None and self.returned_at <= moment and self.ended_at is None


class Judge:
    """Notified of every call and every effect. The first violation ends the schedule."""

    def __init__(self, scheduler: Scheduler, outside: Outside, rules: Rules) -> None:
        self._scheduler, self._outside, self._rules = scheduler, outside, rules
        self.violations: list[str] = []
        self.decisions: list[Decision] = []
        self.vetoed_at: dict[tuple[str, str], float] = {}
        self.decided_at: dict[str, float] = {}
        """When each veto was written: its record has the time of the request, which may be long before."""
        self.observed: dict[TagKey, list[tuple[int, str]]] = defaultdict(list)
        self.first_observed: dict[tuple[str, str, str], float] = {}
        self.refused_locks: set[tuple[str, str]] = set()
        self.harmed: set[tuple[str, str]] = set()
        self.ending: Counter[tuple[str, tuple[str, str]]] = Counter()
        self.operations: Counter[str] = Counter()
        self.approved: set[tuple[str, str]] = set()
        self.settled: dict[str, float] = {}
        self.attached: set[str] = set()
        """The decision records that promotions name, or named before they were purged."""
        self.caused: dict[str, list[Delivery]] = defaultdict(list)
        """The outcomes that each listener must receive, in the order in which they were created."""
        self._starts: dict[str, list[float]] = defaultdict(list)
        self._marks: set[str] = set()
        self._numbers: Counter[TagKey] = Counter()
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._purged_for_nothing: Counter[tuple[str, str]] = Counter()
        self._lived: dict[str, list[str]] = defaultdict(list)
        self._built: dict[str, str] = {}
        outside.ledger.committed = self.committed
        outside.tags.read = self.was_read

    def violated(self, what: str) -> None:
        """Record a violation."""
        self.violations.append(f"at {self._scheduler.seconds:.2f}: {what}")

    # reads ----------------------------------------------------------------------------------------------------------

    def was_read(self, server: str, name: str, content: str | None) -> None:
        """Record that a tag was read, with the result."""
        worker, now = self._scheduler.current, self._scheduler.seconds
        if worker is not None:
            worker.notes[("read", server, name)] = now
            worker.notes[("answer", server, name, content)] = now

    def reading(self, method: str, arguments: tuple[Any, ...]) -> None:
        """Record when a worker read vetoes."""
        worker = self._scheduler.current
        assert worker is not None
        row = arguments[2] if method == "load" else "*"
        worker.notes[("veto", arguments[1], row)] = self._scheduler.seconds

    # writes ---------------------------------------------------------------------------------------------------------

    def committed(self, changes: tuple[Change | Removal, ...]) -> None:
        """Check records that were written or removed."""
        if changes[1:]:
            by_kind = {type(change.record): change for change in changes}
            if isinstance(live := by_kind.get(AppRecord), Change) and Rollout in by_kind:
                self._went_live(live, by_kind[Rollout].record)
        for change in changes:
            if isinstance(change, Removal):
                self._purged(change.record)
            elif not isinstance(change.record, SweepRecord):  # more than half of what is written
                self._written(change)

    def _written(self, change: Change) -> None:
        before = change.stored.record if change.stored else None
        match change.record:
            case Observation():
                self._observation(before, change.record)
            case Candidate():
                self._candidate(before, change.record)
            case Promotion():
                self.attached.update(change.record.attached)
            case StableTag():
                self._stable_tag(before, change.record)
            case Delivery() if before is None:
                self.caused[change.record.listener].append(change.record)
            case Veto(is_active=True):
                self.vetoed_at[change.record.target, change.record.digest] = self._scheduler.seconds

    def _purged(self, record: Any) -> None:
        """Nothing is purged that another record depends on, or that is still open."""
        ledger = self._outside.ledger
        if isinstance(record, Record) and not record.settled:
            self.violated(f"{record.id} is purged while it is open")
        match record:
            case Candidate():
                self._purged_for_nothing[(record.gate, record.digest)] += record.state in _FOR_NOTHING
                held_up = [one.id for one in ledger.all(Promotion) if (one.gate, one.candidate) == _place(record)]
            case Promotion():
                held = [record.row] if record.state is PromotionState.HELD else []
                held_up = held + [
                    one.tag for one in ledger.all(StableTag) if (one.gate, one.promotion) == _place(record)
                ]
            case Veto():
                held_up = [record.digest] if record.is_active else []
            case Rollout():
                apps = (one for one in ledger.all(AppRecord) if one.app == record.app)
                held_up = [one.app for one in apps if record.name in (one.base_rollout, one.deploying)]
            case _:
                held_up = []
        if held_up:
            self.violated(f"{type(record).__name__} {record.row} is purged, but {held_up} depend on it")

    def _observation(self, before: Observation | None, after: Observation) -> None:
        """2: a digest enters a gate only as read at its source. 4: one linear history with increasing numbers."""
        number, last = before.sequence if before else 0, self._numbers[(after.gate, after.tag)]
        if not number and after.sequence and after.sequence <= last:
            self.violated(f"{after.gate}/{after.tag} is observed as number {after.sequence} after number {last}")
        if after.sequence < number:
            self.violated(f"the sequence of {after.gate}/{after.tag} falls from {number} to {after.sequence}")
        if after.digest is None or after.sequence == number:
            if before is not None and after.digest not in (before.digest, None):
                self.violated(f"{after.gate}/{after.tag} becomes {after.digest} without a new number")
            return
        self._numbers[(after.gate, after.tag)] = after.sequence
        self.observed[(after.gate, after.tag)].append((after.sequence, after.digest))
        self.first_observed.setdefault((after.gate, after.tag, after.digest), self._scheduler.seconds)
        gate, worker = self._policy().gates.get(after.gate), self._scheduler.current
        if gate is None or worker is None:
            return
        source = self._policy().registries[gate.source.registry]
        name = f"{gate.source.repository}:{after.tag}"
        read = worker.notes.get(("answer", source.login_server, name, after.digest))
        news = before is None or before.digest != after.digest
        if news and read is None:
            self.violated(f"{after.gate}/{after.tag} is observed as {after.digest}, which no worker has read there")

    def _candidate(self, before: Candidate | None, after: Candidate) -> None:
        """1: a verdict is true. 5: one attempt for one reason. 10: a settled attempt never changes."""
        if before is None:
            self._new_attempt(after)
        elif before.settled and _of_attempt(before) != _of_attempt(after):
            self.violated(f"attempt {after.id} is settled and changes from {before.state} to {after.state}")
        if after.state is CandidateState.PASSED and (before is None or not before.settled):
            self._passed(after)
        if after.state in VERDICTS:
            self.settled.setdefault(after.id, self._scheduler.seconds)

    def _new_attempt(self, attempt: Candidate) -> None:
        earlier = self._outside.ledger.list(Candidate, attempt.gate, attempts_of(attempt.digest))
        key = (attempt.gate, attempt.digest)
        begun_for_nothing = self._purged_for_nothing[key] + sum(one.record.state in _FOR_NOTHING for one in earlier)
        if attempt.attempt != self._attempts[key] + 1:
            self.violated(f"{attempt.id} follows attempt {self._attempts[key]}")
        self._attempts[key] = attempt.attempt
        reasons = 1 + self.operations[attempt.gate] + self._rules.changes + begun_for_nothing
        if attempt.attempt > reasons:
            self.violated(f"{attempt.id} is attempt {attempt.attempt}, but there were {reasons} reasons")

    def _passed(self, attempt: Candidate) -> None:
        gate = self._policy().gates.get(attempt.gate)
        if gate is None:
            self.violated(f"{attempt.id} passed at a gate that is not in the rules")
            return
        if gate.fingerprint != attempt.fingerprint:
            self.violated(f"{attempt.id} passed with other checks than those of the rules")
            return
        for rule, check in zip(gate.checks, attempt.checks, strict=True):
            if not isinstance(rule, RunsTask):
                if (attempt.gate, attempt.row) not in self.approved:
                    self.violated(f"{attempt.id} passed without an approval")
            elif not self._outside.tasks.succeeded(check.registry, check.run_id, rule.task, attempt.digest):
                self.violated(f"{attempt.id} passed, but run {check.run_id} of {check.registry} did not succeed")

    def _stable_tag(self, before: StableTag | None, after: StableTag) -> None:
        """7: no move against a hold is claimed. Claims are recorded with their time."""
        worker, key = self._scheduler.current, (after.gate, after.tag)
        if before is not None and before.hold is not None and after.hold is None:
            self._held(key, after.digest or "", lifted=True)
        claim, old = after.claim, before.claim if before else None
        if worker is None or claim is None or (old is not None and claim.until <= old.until):
            return  # the rest of a claim is not a new one
        worker.notes[("claim", *key)] = self._scheduler.seconds
        worker.notes[("claimed", *key, claim.digest, claim.mover)] = self._scheduler.seconds
        if before is not None and claim.digest == before.digest:
            return
        if "~" in claim.mover:
            self._held(key, claim.digest)

    def _went_live(self, change: Change, rollout: Rollout) -> None:
        """7 of apps: a second rollback goes further back, and never forward to what was rolled back from."""
        before = change.stored.record.live if change.stored else None
        after, lived = change.record.live, self._lived[rollout.app]
        if after is None or after == before:
            return
        if not (rollout.goes_back or rollout.state is RolloutState.RESTORED):
            lived.append(after.digest)
        elif after.digest in lived[:-1]:
            del lived[len(lived) - lived[-2::-1].index(after.digest) - 1 :]
        else:
            self.violated(f"a rollback of app {rollout.app} goes forward to {after.digest}")

    def _held(self, key: TagKey, content: str, *, lifted: bool = False) -> None:
        """`lifted`: a hold that stood has just gone, also one whose call has not returned yet."""
        now = self._scheduler.seconds
        for hold in self.decisions:
            stood = hold.stood_at(now) or (lifted and hold.ended_at is None)
            if hold.what != "hold" or hold.place != key or not stood:
                continue
            if hold.until is HoldUntil.NEWER and self._is_newer(key, content, hold):
                hold.ended_at = now
                continue
            if self._stood(hold, now):
                self.violated(f"{key} is held since {hold.begun_at:.2f}, but a move to {content} is claimed")

    def _stood(self, decision: Decision, moment: float) -> bool:
        """Whether a decision was certainly in force: not if an operator is about to end it."""
        return decision.stood_at(moment) and not self.ending[(decision.what, decision.place)]

    def _is_newer(self, key: TagKey, content: str, hold: Decision) -> bool:
        return self.first_observed.get((*key, content), 0.0) >= hold.begun_at

    # effects --------------------------------------------------------------------------------------------------------

    def acting(self, method: str, arguments: tuple[Any, ...]) -> None:
        """Check a call before its effect."""
        match method:
            case "point":
                self._point(arguments[0].login_server, *arguments[1:])
            case "start_copy":
                self._copy(arguments[0], arguments[2].login_server, arguments[3])
            case "start":
                self._start(arguments[1], dict(arguments[2]), arguments[3])
            case "put":
                self._put(arguments[1])
            case "remove_tag":
                self._remove_tag(arguments[0].login_server, *arguments[1:])

    def _remove_tag(self, server: str, repository: str, tag: str) -> None:
        """3: the unique tag of a stable tag's digest is not removed."""
        for gate in self._gates_into(server, repository):
            stables = (one for one in self._outside.ledger.all(StableTag) if one.gate == gate.name)
            if held_up := [stable.tag for stable in stables if stable.unique == tag]:
                self.violated(f"{repository}:{tag} is removed, but {held_up} depend on it")

    def _point(self, server: str, repository: str, tag: str, content: str) -> None:
        for gate in self._gates_into(server, repository):
            if self._stable(gate, tag) is None:
                continue
            worker, key = self._scheduler.current, (gate.name, tag)
            assert worker is not None  # only workers point
            claims = {
                note[4]: at
                for note, at in worker.notes.items()
                if isinstance(note, tuple) and note[:3] == ("claimed", *key) and note[3] == content
            }
            self._vetoed(f"{key} is pointed at", gate, content, max(claims.values(), default=None))
            mover = max(claims, key=lambda name: claims[name], default="")
            if "~" in mover:
                self._promoted(gate, tag, content, mover, late=self._scheduler.seconds - claims[mover] > _LATE)
            else:
                self._passed_last(gate, content, worker.began_at)
            return

    def _promoted(self, gate: Gate, tag: str, content: str, mover: str, *, late: bool) -> None:
        """1, 2, 3 and 4 for a move by a promotion. A late one, by a worker that was paused, is undone."""
        key, ledger = (gate.name, tag), self._outside.ledger
        stored = ledger.load(Promotion, gate.name, mover)
        promotion = stored.record if stored else None
        if promotion is None or (promotion.digest, promotion.tag) != (content, tag):
            self.violated(f"{key} is pointed at {content} by {mover}, which is missing or has another digest or tag")
            return
        if (promotion.sequence, content) not in self.observed[key]:
            self.violated(f"{key} is pointed at {content}, which was not observed as number {promotion.sequence}")
        if late:
            return
        attempt = ledger.load(Candidate, gate.name, promotion.candidate)
        verdict = attempt.record if attempt else None
        if verdict is None or verdict.state is not CandidateState.PASSED or verdict.fingerprint != gate.fingerprint:
            self.violated(f"{key} is pointed at {content}, which has not passed the current checks")
        stable = self._stable(gate, tag)
        if stable and stable.digest not in (None, content) and stable.sequence > promotion.sequence:
            self.violated(f"{key} goes back from number {stable.sequence} to {promotion.sequence}")
        self._unique_first(gate, promotion)

    def _unique_first(self, gate: Gate, promotion: Promotion) -> None:
        server = self._policy().registries[gate.promote.registry].login_server
        place = (server, f"{gate.promote.repository}:{promotion.unique}")
        if place in self.harmed:
            return
        if self._outside.registry.tags.get(place) != promotion.digest:
            self.violated(f"{promotion.id} moves its stable tag before its unique tag {promotion.unique} exists")
        if gate.promote.lock and place not in self._outside.registry.locked and not promotion.lock_problem:
            self.violated(f"{promotion.id} moves its stable tag before its unique tag {promotion.unique} is locked")

    def _passed_last(self, gate: Gate, content: str, since: float) -> None:
        """1: a rollback or a repair goes to a digest that passed when it was last examined."""
        attempts = [one.record for one in self._outside.ledger.list(Candidate, gate.name, attempts_of(content))]
        known = [one for one in attempts if self.settled.get(one.id, since + 1.0) <= since]
        meanwhile = [one for one in attempts if self.settled.get(one.id, since) > since]
        if not any(one.state is CandidateState.PASSED for one in (*known[-1:], *meanwhile)):
            self.violated(
                f"a stable tag of {gate.name} is put back to {content}, which did not pass when last examined"
            )

    def _vetoed(self, what: str, gate: Gate, content: str, claimed_at: float | None) -> None:
        """7: nothing violates a veto that had returned before the claim, or before vetoes were read."""
        target = self._target(gate)
        self._against_veto(what, target, content, claimed_at)

    def _against_veto(self, what: str, target: str, content: str, claimed_at: float | None) -> float:
        """Check that; returns when the worker claimed it, or last read the vetoes."""
        worker = self._scheduler.current
        if worker is None:
            return self._scheduler.seconds
        partition, row = veto_partition(target), veto_row(content)
        read = [worker.notes.get(("veto", partition, one)) for one in (row, "*")]
        since = max([at for at in (*read, claimed_at) if at is not None], default=self._scheduler.seconds)
        for veto in self.decisions:
            if veto.what == "veto" and veto.place == (target, content) and self._stood(veto, since):
                self.violated(f"{what} {content}, which is vetoed since {veto.returned_at:.2f}")
        return since

    def _copy(self, source: ImageRef, server: str, name: str) -> None:
        """4 of the issue: a unique tag with another digest is never overwritten."""
        there, worker = self._outside.registry.tags.get((server, name)), self._scheduler.current
        if there not in (None, source.digest) and (server, name) not in self.harmed and worker is not None:
            self.violated(f"{name} is {there}, but {source.digest} is copied over it")

    def _start(self, task: str, values: dict[str, str], mark: str) -> None:
        """5: one run per claim. 7: nothing is built on a vetoed base."""
        if mark in self._marks:
            self.violated(f"a second run of {task} is started for {mark}")
        self._marks.add(mark)
        owner, now = mark.rpartition("/")[0], self._scheduler.seconds
        if "IMAGE" in values and self._is_claimed(mark):
            self._starts[owner] = recent = [*(at for at in self._starts[owner] if now - at < _DAY), now]
            if len(recent) > _RUNS_A_DAY:
                self.violated(f"{owner} is run {len(recent)} times within a day")
        if base := values.get("BASE_IMAGE"):
            target, _, content = base.rpartition("@")
            self._against_veto(f"{owner} is built on", target, content, None)

    def _is_claimed(self, mark: str) -> bool:
        """Whether a run is one of a candidate, by a worker that has the check.

        One that was paused between its claim and the start, while another released the claim, starts a run that nobody
        waits for, and harms nothing.
        """
        if mark.startswith(_RESCANS):
            return False
        _, gate, row, index, nonce = mark.split("/")
        stored = self._outside.ledger.load(Candidate, gate, row)
        checks = stored.record.checks if stored else ()
        return int(index) < len(checks) and checks[int(index)].nonce == nonce

    def _put(self, image: BuiltImage) -> None:
        """2 and 7 of apps: a deployed image was built by the app's task, and not on a vetoed base."""
        built = self._built.get(image.digest)
        if built != image.repository:
            self.violated(f"{image} ({image.digest}) is deployed, but no run of its task has built it")
        if image.base is not None:
            target = f"{image.base.login_server}/{image.base.repository}"
            self.decided_at[image.reference] = self._against_veto(
                f"{image} is deployed on", target, image.base.digest, None
            )

    def built(self, repository: str, content: str) -> None:
        """Record that a run of the app's task has built an image."""
        self._built[content] = repository

    def gate(self, name: str) -> Gate | None:
        """A gate of the current rules, or of the last that had it."""
        return next((policy.gates[name] for policy in reversed(self._rules.versions) if name in policy.gates), None)

    # helpers --------------------------------------------------------------------------------------------------------

    def _policy(self) -> Policy:
        worker = self._scheduler.current
        return self._rules.versions[worker.rules] if worker else self._rules.now

    def _target(self, gate: Gate) -> str:
        return f"{self._policy().registries[gate.promote.registry].login_server}/{gate.promote.repository}"

    def _gates_into(self, server: str, repository: str) -> Iterator[Gate]:
        for gate in self._policy().gates.values():
            if self._target(gate) == f"{server}/{repository}":
                yield gate

    def _stable(self, gate: Gate, tag: str) -> StableTag | None:
        stored = self._outside.ledger.load(StableTag, gate.name, tag)
        return stored.record if stored else None


def checks_are_known_bad(gate: Gate, bad: set[tuple[str, str]], content: str) -> bool:
    """Whether a check of a gate really rejects a digest."""
    return any(isinstance(check, TaskCheck) and (check.task, content) in bad for check in gate.checks)


def is_by_task(gate: Gate) -> bool:
    """Whether the gate's own task moves the tags."""
    return gate.promote.by == "task"


def _of_attempt(attempt: Candidate) -> Candidate:
    """The part of a settled attempt that never changes: all but its scheduling."""
    return msgspec.structs.replace(
        attempt, history=(), failures=0, failing_since=None, failing_step="",
        next_step_at=None, stall=None,
    )  # fmt: skip


def _place(record: Candidate | Promotion) -> tuple[str, str]:
    return record.gate, record.row
