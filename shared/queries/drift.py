"""Drift: upstream, ledger, stable tag, app and container side by side, as the last sweep saw them."""

from datetime import timedelta
from itertools import islice

import msgspec

from shared.domain.alarm import STALLS
from shared.domain.candidate import CandidateState
from shared.domain.image import Digest, Tag
from shared.domain.observation import Expectation, Observation
from shared.domain.policy import App, Gate, seconds
from shared.domain.promotion import Promotion, PromotionState, promotion_row
from shared.domain.record import ApiModel, Moment
from shared.domain.retention import LeftOver
from shared.domain.rollout import AppRecord
from shared.domain.stable_tag import StableTag
from shared.domain.sweep import SweepRecord
from shared.intake.upstreams import UpstreamRecord
from shared.ports import Services, read
from shared.promotion.vetoes import Vetoes
from shared.queries.lookup import Lookup
from shared.queries.records import base_of, source_of
from shared.records.alarms import Alarms

TAGS_READ, TAGS_SHOWN = 1000, 100
"""The limits of tags of a gate that are read and that are shown: tags with alarms, then those that differ, first. Of
the others only the number is shown."""

_EXPLAINED_BY_CANDIDATE = (PromotionState.WAITING, PromotionState.REFUSED, PromotionState.CANCELED)
"""States of a promotion that the state of its candidate explains."""


class AlarmItem(ApiModel, frozen=True, kw_only=True):
    """An active alarm; `plan` is what is done about it, and when."""

    kind: str
    subject: str
    words: str
    plan: str
    since: Moment


class SweepProgress(ApiModel, frozen=True, kw_only=True):
    """The progress of one sweep job.

    `last_at` is the start of the last complete round, `next_at` when the next one is due (None: with the next sweep);
    `problem` is why the last round is incomplete, `subjects` the number of things it has read.
    """

    last_at: Moment | None
    next_at: Moment | None
    problem: str
    subjects: int


class Completeness(ApiModel, frozen=True, kw_only=True):
    """The source of upstream changes: how many events reported, and how many the sweep found, the slowest of them
    after `recovery_seconds`. The list of tags has `left_out` invalid names, for example `left_out_name`."""

    by_event: int
    by_sweep: int
    recovery_seconds: float
    left_out: int
    left_out_name: str


class TagDrift(ApiModel, frozen=True, kw_only=True):
    """One tag: its upstream digest when it was last read, its candidate, and the digest of its stable tag.

    `sequence` is the number of its last change, `absent` that it does not exist, `doubted` an earlier digest that was
    read once and is to be confirmed. `unread` counts digests that events named and no read found; `expectations` are
    the last of them: why a push was not examined.
    """

    tag: str
    sequence: int
    upstream: Digest | None
    upstream_since: Moment | None
    absent: bool
    doubted: Digest | None
    unread: int
    expectations: tuple[Expectation, ...]
    stable: Digest | None
    stable_since: Moment | None
    held: bool
    same: bool
    candidate: str
    state: str
    reason: str
    awaits_approval: bool


class LeftOverTag(ApiModel, frozen=True, kw_only=True):
    """An unused unique tag, and when the promotion that created it last changed."""

    unique: str
    digest: Digest
    tag: str
    since: Moment


class GateDrift(ApiModel, frozen=True, kw_only=True):
    """A gate: the state of its upstream, its alarms, and its tags: those with alarms, then those that differ, first.

    `more` tags are not shown. `left_over` are unused unique tags, 100 at most: the gate's rule says when they are
    removed. `pause_reason` is the last failure of the upstream, while the sweep backs off from it.
    """

    name: str
    source: str
    target: str
    repairs: bool
    sweep: SweepProgress
    completeness: Completeness
    paused_until: Moment | None
    pause_reason: str
    pulls_left: int | None
    tags: tuple[TagDrift, ...]
    more: int
    left_over: tuple[LeftOverTag, ...]
    alarms: tuple[AlarmItem, ...]


class AppDrift(ApiModel, frozen=True, kw_only=True):
    """An app: the digest of its stable tag, the base of its live image, the image that should run, and its alarms."""

    name: str
    gate: str
    tag: str
    repairs: bool
    base: str | None
    stable: Digest | None
    same: bool
    live: str | None
    live_since: Moment | None
    sweep: SweepProgress
    alarms: tuple[AlarmItem, ...]


class RegistryDrift(ApiModel, frozen=True, kw_only=True):
    """A registry with alarms of its own: a secret near its expiry, no event subscription."""

    name: str
    server: str
    alarms: tuple[AlarmItem, ...]


class Drift(ApiModel, frozen=True, kw_only=True):
    """The drift of everything. `stalls` are the causes that records are stalled on; `alarms` counts all alarms."""

    gates: tuple[GateDrift, ...]
    apps: tuple[AppDrift, ...]
    registries: tuple[RegistryDrift, ...]
    stalls: tuple[AlarmItem, ...]
    alarms: int


class DriftQuery:
    """Reads what the sweeps recorded; it calls no registry."""

    def __init__(self, services: Services) -> None:
        self._services, self._lookup = services, Lookup(services)
        self._alarms = Alarms(services)

    def drift(self) -> Drift:
        """The drift of all gates, apps and registries."""
        policy = self._services.policy
        gates = tuple(self._gate(gate) for gate in policy.gates.values())
        apps = tuple(self._app(app) for app in policy.apps.values())
        alarmed = ((rule, self._alarms_of(f"registries/{rule.name}")) for rule in policy.registries.values())
        registries = tuple(
            RegistryDrift(name=rule.name, server=rule.login_server, alarms=alarms) for rule, alarms in alarmed if alarms
        )
        stalls = self._alarms_of(STALLS)
        counted = len(stalls) + sum(len(one.alarms) for part in (gates, apps, registries) for one in part)
        return Drift(gates=gates, apps=apps, registries=registries, stalls=stalls, alarms=counted)

    def _gate(self, gate: Gate) -> GateDrift:
        ledger, source = self._services.ledger, self._services.registry_rule(gate.source.registry)
        record = read(ledger, SweepRecord(job=f"upstream.{gate.name}"))
        upstream = read(ledger, UpstreamRecord(server=source.login_server))
        backoff = upstream.backoff_of(gate.source.repository)
        observations = (stored.record for stored in ledger.list(Observation, gate.name))
        seen = list(islice((one for one in observations if one.sequence and gate.takes(one.tag)), TAGS_READ))
        span = (seen[0].tag, seen[-1].tag) if seen else ("", "")
        stable = {s.record.tag: s.record for s in ledger.between(StableTag, gate.name, *span)}
        pairs = [(one, stable.get(one.tag) or StableTag(gate=gate.name, tag=one.tag)) for one in seen]
        alarms = self._alarms_of(f"gates/{gate.name}")
        alarmed = {alarm.subject for alarm in alarms}
        pairs.sort(key=lambda pair: (pair[0].tag not in alarmed, _same(*pair)))
        shown = pairs[:TAGS_SHOWN]
        left_over = (stored.record for stored in islice(ledger.list(LeftOver, gate.name), TAGS_SHOWN))
        return GateDrift(
            name=gate.name,
            source=source_of(gate, self._services),
            target=Vetoes(self._services).target(gate),
            repairs=gate.drift == "repair",
            sweep=_progress(record, seconds(source.interval)),
            completeness=Completeness(
                by_event=sum(one.by_event for one in seen),
                by_sweep=sum(one.by_sweep for one in seen),
                recovery_seconds=record.recovery_seconds,
                left_out=record.left_out,
                left_out_name=record.left_out_name,
            ),
            paused_until=backoff.paused_until,
            pause_reason=backoff.problem if backoff.paused_until else "",
            pulls_left=upstream.remaining if upstream.limit >= 0 else None,
            tags=tuple(self._tag(gate, *pair) for pair in shown),
            more=max(len(seen), record.checked) - len(shown),
            left_over=msgspec.convert([*left_over], tuple[LeftOverTag, ...], from_attributes=True),
            alarms=alarms,
        )

    def _tag(self, gate: Gate, seen: Observation, stable: StableTag) -> TagDrift:
        same = _same(seen, stable)
        promoted = f"{gate.name}.{stable.candidate}" if stable.candidate else ""
        candidate, state, reason = (promoted, "promoted", "") if same else self._pending(gate, seen)
        return TagDrift(
            tag=seen.tag,
            sequence=seen.sequence,
            upstream=seen.digest,
            upstream_since=seen.first_seen,
            absent=seen.absent,
            doubted=seen.doubted,
            unread=seen.unread,
            expectations=seen.expectations,
            stable=stable.digest,
            stable_since=stable.moved_at,
            held=stable.hold is not None,
            same=same,
            candidate=candidate,
            state=state,
            reason=reason,
            awaits_approval=state == CandidateState.AWAITING_APPROVAL,
        )

    def _pending(self, gate: Gate, seen: Observation) -> tuple[str, str, str]:
        """The candidate of an observed digest, the state of its promotion, and the reason."""
        stored = self._lookup.latest(gate, seen.digest) if seen.digest else None
        candidate = stored.record if stored else None
        promotion = self._services.ledger.load(Promotion, gate.name, promotion_row(seen.tag, seen.sequence))
        identifier = candidate.id if candidate else ""
        if promotion is None or (candidate is not None and promotion.record.state in _EXPLAINED_BY_CANDIDATE):
            return (identifier, candidate.state_name, candidate.why) if candidate else ("", "", "")
        return identifier, promotion.record.state_name, promotion.record.why

    def _app(self, app: App) -> AppDrift:
        record = read(self._services.ledger, AppRecord(app=app.name))
        stable = read(self._services.ledger, StableTag(gate=app.base.gate, tag=Tag(app.base.tag))).digest
        base = record.live.base if record.live else record.base
        return AppDrift(
            name=app.name,
            gate=app.base.gate,
            tag=app.base.tag,
            repairs=app.drift == "repair",
            base=base_of(record),
            stable=stable,
            same=(base.digest if base else None) == stable,
            live=str(record.live) if record.live else None,
            live_since=record.live_since,
            sweep=_progress(read(self._services.ledger, SweepRecord(job=f"app.{app.name}")), 0),
            alarms=self._alarms_of(f"apps/{app.name}"),
        )

    def _alarms_of(self, scope: str) -> tuple[AlarmItem, ...]:
        active = sorted(self._alarms.active(scope), key=lambda alarm: alarm.since)
        return msgspec.convert(active, tuple[AlarmItem, ...], from_attributes=True)


def _same(seen: Observation, stable: StableTag) -> bool:
    return seen.digest is not None and stable.digest == seen.digest


def _progress(record: SweepRecord, every_seconds: int) -> SweepProgress:
    last = record.last_began_at
    due = last + timedelta(seconds=every_seconds) if last and every_seconds else None
    return SweepProgress(last_at=last, next_at=due, problem=record.problem, subjects=record.checked)
