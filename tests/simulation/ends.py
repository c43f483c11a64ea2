"""The one right final state: what must hold once there are no more faults."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain

from shared.checks.scan import ScanCheck
from shared.domain.alarm import STALLS, Alarm, AlarmKind
from shared.domain.candidate import VERDICTS, Candidate, CandidateState, attempts_of
from shared.domain.image import Digest, short
from shared.domain.observation import Observation
from shared.domain.outcome import Delivery, Listener, Outcome
from shared.domain.policy import App, Gate, Policy, RegistryRule
from shared.domain.promotion import Promotion, PromotionState, promotion_row
from shared.domain.record import Record
from shared.domain.rescan import Rescan, rescan_row
from shared.domain.rollout import AppRecord, Rollout, RolloutState
from shared.domain.stable_tag import StableTag, Veto
from shared.reconcile.engine import controllers
from shared.records.alarms import stall_subject
from shared.sweep.jobs.upstream import TrackedTags
from tests.simulation.host import App as Basegate
from tests.simulation.judge import Judge
from tests.simulation.outside import Group, Outside
from tests.simulation.scanner import Scanner

_GIVEN_UP = "decision record given up"
_TAKEN = ("the gate's task passed", "has other digests under")


class Ends:
    """Checks the final state of the world."""

    def __init__(self, app: Basegate, outside: Outside, judge: Judge, scanner: Scanner) -> None:
        self._app, self._outside, self._ledger, self._judge = app, outside, outside.ledger, judge
        self._scanner = scanner
        self._policy: Policy = app.services.policy

    def wrong(self) -> Iterator[str]:
        """Everything that is not as it must be."""
        yield from self._open()
        yield from self._announced()
        for gate in self._policy.gates.values():
            yield from self._gate(gate)
        for app in self._policy.apps.values():
            yield from self._of_app(app)

    def _records(self) -> Iterator[Record]:
        kinds: tuple[type[Record], ...] = (Candidate, Promotion, Rollout, Listener)
        return chain.from_iterable(self._ledger.all(kind) for kind in kinds)

    def _open(self) -> Iterator[str]:
        """Nothing stays open forever, and nothing is stalled."""
        for record in self._records():
            if isinstance(record, Rollout) and record.app not in self._policy.apps:
                continue
            waits = isinstance(record, Candidate) and record.state is CandidateState.AWAITING_APPROVAL
            if not record.settled and not waits and not self._is_for_a_person(record):
                yield f"{type(record).__name__} {record.id} is open: {record.state_name}: {record.why}"

    def _is_for_a_person(self, record: Record) -> bool:
        """Whether a gate's own task, or someone who bypassed the gate, has pushed other bytes under its unique tag."""
        if not isinstance(record, Promotion) or record.stall is None:
            return False
        standing = {one.subject for one in self._ledger.all(Alarm) if one.scope == STALLS and one.is_active}
        return stall_subject(record.stall) in standing and any(words in record.stall.reason for words in _TAKEN)

    def _announced(self) -> Iterator[str]:
        """8: each listener received every outcome, in order, except those that it refuses: they are parked."""
        known = controllers(self._app.services)
        for name, listener in (("topic", self._outside.topic), ("webhook", self._outside.webhook)):
            caused = [one.outcome for one in self._judge.caused[name]]
            named = {(one.name, one.subject) for one in caused}
            for record in self._records():
                outcome = known[type(record).__name__.lower()].outcome(record)
                if outcome is not None and (outcome.name, outcome.subject) not in named:
                    yield f"{outcome.name} of {record.id} was never created for the {name}"
            due = [one for one in caused if not listener.refuses(one)]
            if _by_cause(due) != (heard := _by_cause(listener.heard.values())):
                wrong = next(key for key, ids in _by_cause(due).items() if heard.get(key) != ids)
                yield f"the {name} has not received all outcomes of {wrong}, in order"
            parked = [one for one in self._ledger.all(Delivery) if one.listener == name and one.parked_at]
            if len(parked) != len(caused) - len(due):
                yield f"{len(parked)} outcomes are parked for the {name}, which refuses {len(caused) - len(due)}"
        if left := [one.row for one in self._ledger.all(Delivery) if not one.parked_at]:
            yield f"outcomes are left: {left}"

    # gates ----------------------------------------------------------------------------------------------------------

    def _gate(self, gate: Gate) -> Iterator[str]:
        source = self._policy.registries[gate.source.registry]
        listed = [str(tag) for tag in self._outside.tags.tags(source, gate.source.repository)]
        tracked = set(TrackedTags(gate.source.tracked, lambda: listed).behind(""))
        for tag in sorted(tracked & set(listed)):
            content = self._outside.stable(source.login_server, gate.source.repository, tag)
            if content is not None:
                yield from self._tracked(gate, tag, content)
        for stored in self._ledger.list(StableTag, gate.name):
            yield from self._stable_tags(gate, stored.record)
            yield from self._scanned(gate, stored.record)

    def _scanned(self, gate: Gate, stable: StableTag) -> Iterator[str]:
        """13: what the newest database tells of a promoted image is known, and there is an alarm if that fails."""
        rule = next((one for one in gate.checks if isinstance(one, ScanCheck)), None)
        at_risk = AlarmKind.AT_RISK in self._alarms(f"gates/{gate.name}", stable.tag)
        if at_risk and (rule is None or stable.digest not in self._scanner.vulnerable):
            yield f"{gate.name}/{stable.tag} is said to be at risk, and is not"
        if rule is None or stable.digest is None:
            return
        known = self._ledger.load(Rescan, gate.name, rescan_row(stable.digest, rule.run_fingerprint))
        if known is None or known.record.database_built_at != self._scanner.built_at:
            yield f"{gate.name}/{stable.tag} was not scanned with the newest database: {known and known.record.run}"
        if stable.digest in self._scanner.vulnerable and not at_risk:
            yield f"{gate.name}/{stable.tag} is at risk, and there is no alarm"

    def _tracked(self, gate: Gate, tag: str, content: Digest) -> Iterator[str]:
        """6: a digest that stayed was observed, examined, and promoted; or there is a valid reason."""
        name = f"{gate.name}/{tag}"
        seen = self._ledger.load(Observation, gate.name, tag)
        if seen is None or seen.record.digest != content or seen.record.absent or seen.record.doubted:
            yield f"{name} is {short(content)} and was not observed as that: {seen.record if seen else 'never'}"
            return
        stored = self._ledger.load(StableTag, gate.name, tag)
        stable = stored.record if stored else StableTag(gate=gate.name, tag=seen.record.tag)
        if stable.digest == content:
            return
        promotion = self._ledger.load(Promotion, gate.name, promotion_row(tag, seen.record.sequence))
        if promotion is None and (stable.hold is not None or self._is_vetoed(gate, content)):
            return  # the stable tag was at this digest when the source tag returned to it, and was moved away
        if promotion is None:
            yield f"{name} is {short(content)} (#{seen.record.sequence}) and has no promotion"
            return
        if not self._is_right(gate, stable, promotion.record):
            one = promotion.record
            yield f"{name} points to {short(stable.digest or '-')}, not {short(content)}: {one.state}: {one.reason}"

    def _is_right(self, gate: Gate, stable: StableTag, promotion: Promotion) -> bool:
        """Whether a promotion that did not succeed has ended for a reason that really exists."""
        attempts = [one.record for one in self._ledger.list(Candidate, gate.name, attempts_of(promotion.digest))]
        last = attempts[-1].state if attempts else None
        verdicts = [one.state for one in attempts if one.state in VERDICTS]
        match promotion.state:
            case PromotionState.HELD:
                return stable.hold is not None and stable.hold.stops(promotion.sequence, returning=promotion.returning)
            case PromotionState.VETOED:
                return self._is_vetoed(gate, promotion.digest)
            case PromotionState.CANCELED:
                return last is CandidateState.CANCELED or "canceled by" in promotion.reason
            case PromotionState.REFUSED:
                return verdicts[-1:] in ([CandidateState.FAILED], [CandidateState.REJECTED])
            case PromotionState.WAITING:
                return last is CandidateState.AWAITING_APPROVAL
            case PromotionState.PROMOTING:
                return self._is_for_a_person(promotion)
            case _:
                kept = stable.hold is not None or self._is_vetoed(gate, promotion.digest)
                return kept and self._has_been_there(stable, promotion)

    @staticmethod
    def _has_been_there(stable: StableTag, promotion: Promotion) -> bool:
        """Whether the tag was at a promotion, or beyond it, before an operator moved it away."""
        overtaken = promotion.state is PromotionState.SUPERSEDED and stable.sequence > promotion.sequence
        return overtaken or promotion.state is PromotionState.PROMOTED

    def _stable_tags(self, gate: Gate, stable: StableTag) -> Iterator[str]:
        """3 and 7: a stable tag has the digest of its record; if it does not, an alarm was raised.

        A digest pushed by a gate's own task for a promotion that needs a person is accepted.
        """
        target = self._policy.registries[gate.promote.registry]
        there = self._outside.stable(target.login_server, gate.promote.repository, stable.tag)
        alarms = self._alarms(f"gates/{gate.name}", stable.tag)
        said = {AlarmKind.STABLE_MOVED, AlarmKind.UNRECORDED, AlarmKind.PROMOTED_GONE}
        own = (
            one
            for one in self._ledger.all(Promotion)
            if (one.gate, one.tag, one.digest) == (gate.name, stable.tag, there)
        )
        kept = any(one.state is PromotionState.PROMOTING and self._is_for_a_person(one) for one in own)
        if there != stable.digest and not kept and not alarms & said:
            yield f"{gate.name}/{stable.tag} is {short(there or '-')}, its record has {short(stable.digest or '-')}"
        if there is not None and self._is_vetoed(gate, there) and AlarmKind.STABLE_VETOED not in alarms:
            yield f"{gate.name}/{stable.tag} points to the vetoed {short(there)} without an alarm"
        if there is None or there != stable.digest:
            return
        verdicts = [one.record for one in self._ledger.list(Candidate, gate.name, attempts_of(there))]
        passed = [one for one in verdicts if one.state is CandidateState.PASSED]
        if not passed:
            yield f"{gate.name}/{stable.tag} points to {short(there)}, which never passed"
        yield from self._recorded(target.login_server, gate, stable)
        yield from self._travelled(target.login_server, gate, stable)

    def _recorded(self, server: str, gate: Gate, stable: StableTag) -> Iterator[str]:
        """11: what a promoted image was decided by is attached to it, once, or its promotion says why it is not."""
        stored = self._ledger.load(Promotion, gate.name, stable.promotion) if stable.promotion else None
        if stored is None or stored.record.rolled_out_at is None:
            return
        promotion, name = stored.record, f"promotion {stored.record.id}"
        if promotion.digest in self._outside.registry.deleted:
            return
        there = self._outside.registry.referrers[(server, gate.promote.repository, promotion.digest)]
        if not promotion.attached and _said(promotion).isdisjoint(("no decision record", _GIVEN_UP)):
            yield f"{name} has no decision record, and does not say why"
        if not there.issuperset(promotion.attached):
            yield f"{name} names a decision record that is not attached to {short(promotion.digest)}"
        alike = (one.record for one in self._ledger.list(Promotion, gate.name) if one.record.digest == promotion.digest)
        gates = self._policy.gates_into(self._target(gate), gate.promote.repository)
        if not any(_GIVEN_UP in _said(one) for one in alike) and all(other is gate for other in gates):
            yield from (f"{name}: {short(one)} was attached twice" for one in there - self._judge.attached)

    def _travelled(self, server: str, gate: Gate, stable: StableTag) -> Iterator[str]:
        """12: what is attached to a promoted digest upstream was copied with it, or its promotion says why not; and
        nothing that is attached to another digest.
        """
        stored = self._ledger.load(Promotion, gate.name, stable.promotion) if stable.promotion else None
        if stored is None or stored.record.rolled_out_at is None or gate.referrers == "ignore":
            return
        promotion, name, upstream = stored.record, f"promotion {stored.record.id}", self._outside.referrers
        if promotion.digest in self._outside.registry.deleted:
            return
        there = self._outside.registry.copied[(server, gate.promote.repository, promotion.digest)]
        if there.intersection(upstream.hostile(promotion.digest)):
            yield f"{name} has copied what is not attached to {short(promotion.digest)}"
        says = promotion.referrers_problem or any(one.what == "no referrers copied" for one in promotion.history)
        if not (there.issuperset(upstream.honest(promotion.digest)) or says):
            yield f"{name} has not copied what is attached to {short(promotion.digest)}, and does not say why"
        is_known = AlarmKind.NOT_COPIED in self._alarms(f"gates/{gate.name}", stable.tag)
        if promotion.referrers_problem and gate.referrers == "copy" and not is_known:
            yield f"{name} has not copied what is attached to {short(promotion.digest)}, without an alarm"

    def _target(self, gate: Gate) -> RegistryRule:
        return self._policy.registries[gate.promote.registry]

    def _is_vetoed(self, gate: Gate, content: str) -> bool:
        target = f"{self._policy.registries[gate.promote.registry].login_server}/{gate.promote.repository}"
        return any(one.is_active and one.target == target and one.digest == content for one in self._ledger.all(Veto))

    def _alarms(self, scope: str, subject: str) -> set[AlarmKind]:
        return {
            one.kind
            for one in self._ledger.all(Alarm)
            if (one.scope, one.subject) == (scope, subject) and one.is_active
        }

    # apps -----------------------------------------------------------------------------------------------------------

    def _of_app(self, app: App) -> Iterator[str]:
        """An app was rolled out on its base, and what is live is healthy; or there is an alarm, or a decision."""
        stored = self._ledger.load(StableTag, app.base.gate, app.base.tag)
        record = self._ledger.load(AppRecord, app.name, "app")
        base = stored.record.digest if stored else None
        if base is None:
            return
        if record is None or record.record.base is None or record.record.base.digest != base:
            yield f"app {app.name} was not rolled out on {short(base)}"
            return
        rollout = self._ledger.load(Rollout, app.name, record.record.base_rollout)
        if app.deploy is not None:
            yield from self._deployed(app, record.record, rollout.record if rollout else None, base)

    def _deployed(self, app: App, record: AppRecord, rollout: Rollout | None, base: Digest) -> Iterator[str]:
        assert app.deploy is not None
        group, live = app.deploy.name, record.live
        alarms = self._alarms(f"apps/{app.name}", group) | self._alarms(f"apps/{app.name}", app.base.tag)
        shown = self._outside.containers.groups.get(group)
        if live is None:
            if rollout is not None and rollout.state is RolloutState.LIVE:
                yield f"app {app.name}: its rollout is live, but no image is"
            return
        well = shown is not None and shown.image == live.reference and self._outside.containers.is_well(group)
        if not well and AlarmKind.CONTAINER not in alarms:
            yield f"app {app.name} is not healthy, runs {shown.image if shown else 'nothing'}, and there is no alarm"
        yield from self._on_no_ban(app, shown)
        on_base = live.base is None or live.base.digest == base
        decided = record.decided > 0 or record.lives > (rollout.after if rollout else 0)
        ended = rollout is not None and rollout.state in (
            RolloutState.FAILED, RolloutState.RESTORED, RolloutState.CANCELED, RolloutState.SUPERSEDED,
        )  # fmt: skip
        if not on_base and not decided and not (ended or AlarmKind.NOT_ON_BASE in alarms):
            yield f"app {app.name} is live on {short(live.base.digest if live.base else '')}, not on {short(base)}"

    def _on_no_ban(self, app: App, shown: Group | None) -> Iterator[str]:
        """7: nothing stays deployed by a worker that read the vetoes after the one of its base."""
        images = [
            one.image for one in self._ledger.all(Rollout) if one.app == app.name and one.image and one.image.base
        ]
        bases = {image.reference: image.base.digest for image in images if image.base is not None}
        base = bases.get(shown.image) if shown is not None else None
        for veto in self._ledger.all(Veto):
            if shown is None or not veto.is_active or veto.digest != base:
                continue
            decided_at = self._judge.decided_at.get(shown.image, shown.deployed_at)
            if decided_at > self._judge.vetoed_at[veto.target, veto.digest]:
                yield f"app {app.name} was put on the base {short(veto.digest)} after it was vetoed"


def _by_cause(outcomes: Iterable[Outcome]) -> dict[tuple[str, object], list[str]]:
    """The ids of outcomes by subject and kind, in order. Between two kinds of drift there is no order."""
    ids = defaultdict[tuple[str, object], list[str]](list)
    for one in outcomes:
        ids[one.subject, one.data.get("kind")].append(one.id)
    return ids


def settled_digests(outside: Outside, gate: Gate) -> set[str]:
    """The digests of a gate that have a verdict."""
    return {one.digest for one in outside.ledger.all(Candidate) if one.gate == gate.name and one.state in VERDICTS}


def _said(promotion: Promotion) -> set[str]:
    return {entry.what for entry in promotion.history}
