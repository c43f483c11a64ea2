"""What a push means: a new candidate, a rollout, an echo of Basegate's own doing, or nothing.

This is the event path: the ledger and the rules, no Azure management call. The looks it returns are queued by
the trigger's output binding, or by the sweep, which hands in here what no event told.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum

import msgspec

from shared.domain.candidate import Candidate, FoundBy, TagRecord
from shared.domain.errors import Conflict, Malformed, Retry
from shared.domain.event import EventKind, Push, RegistryEvent, UnwantedEvent, parse_event
from shared.domain.image import short
from shared.domain.policy import App, Gate, RegistryRule
from shared.domain.record import Look
from shared.domain.rollout import BuiltImage, Cause, Rollout, RolloutState
from shared.workflow.dependents import AppRecords
from shared.workflow.examine import new_checks
from shared.workflow.find import Find
from shared.workflow.services import Services

_WRITE_ATTEMPTS = 5
TAGS_LIMIT = 100
"""How many tags of one digest are promoted: a record has a size to keep to, and upstream chooses how many there are."""

_CLOCK_TOLERANCE = timedelta(minutes=15)
"""How far a registry's clock may be ahead. Pushes are ordered by their time: one yet to come would stay the newest."""


class Outcome(StrEnum):
    """What became of an event; each is counted."""

    CANDIDATE = "candidate admitted"
    TAG_ADDED = "tag added to a candidate"
    PUSHED_AGAIN = "pushed again"
    DUPLICATE = "duplicate"
    TOO_MANY_TAGS = "more tags than a candidate takes"
    ROLLOUT = "rollout admitted"
    ECHO = "echo of Basegate's own build"
    TARGET = "push to where a gate promotes to"
    DELETED = "deletion noted"
    UNTAGGED = "push by digest, no tag"
    NO_RULE = "no rule speaks of it"
    FOREIGN = "unknown registry"
    UNWANTED = "not an image event"
    MALFORMED = "malformed"


class Admission(msgspec.Struct, frozen=True):
    """What became of an event, why, and which records want a look."""

    outcome: Outcome
    reason: str
    looks: tuple[Look, ...] = ()


class Admit:
    """Takes events in, and what the sweep found.

    Whatever an event says, it is acknowledged; only a ledger that is away, or contended all the time, raises (`Retry`).
    """

    def __init__(self, services: Services) -> None:
        self._services, self._records, self._find = services, AppRecords(services), Find(services)

    def event(self, payload: object) -> list[Admission]:
        """What a delivered event means, one admission for each rule it concerns."""
        try:
            event = parse_event(payload)
        except UnwantedEvent as error:
            return [Admission(Outcome.UNWANTED, str(error))]
        except Malformed as error:
            return [Admission(Outcome.MALFORMED, str(error))]
        if event.occurred_at > self._services.clock.now() + _CLOCK_TOLERANCE:
            return [Admission(Outcome.MALFORMED, f"data.timestamp: {event.occurred_at.isoformat()} is yet to come")]
        registry = self._services.policy.registry_by_id(event.registry_id)
        if registry is None:
            return [Admission(Outcome.FOREIGN, f"{event.registry_id[:200]} is no configured registry")]
        subject = f"{registry.login_server}/{event.repository}:{event.tag or ''}@{event.digest}"
        if event.kind is EventKind.DELETED:
            return [Admission(Outcome.DELETED, subject)]
        return list(self._pushed(event, registry)) or [self._unclaimed(event, registry, subject)]

    def _pushed(self, event: RegistryEvent, registry: RegistryRule) -> Iterator[Admission]:
        if event.tag is not None:
            push = Push(
                repository=event.repository,
                tag=event.tag,
                digest=event.digest,
                at=event.occurred_at,
                told=f"pushed as {event.tag} at {event.occurred_at:%Y-%m-%dT%H:%M:%SZ}, event {event.event_id}",
                found_by=FoundBy.EVENT,
            )
            for gate in self._services.policy.gates_for(event, registry):
                yield self.push(push, gate)
            for app in self._services.policy.apps_built_as(event, registry):
                yield self.image(push, app)

    def _unclaimed(self, event: RegistryEvent, registry: RegistryRule, subject: str) -> Admission:
        if event.tag is None:
            return Admission(Outcome.UNTAGGED, subject)
        if self._services.policy.promotes_to(event, registry):
            return Admission(Outcome.TARGET, f"{subject}; if it is not Basegate's own, the sweep sees to it")
        return Admission(Outcome.NO_RULE, subject)

    def push(self, push: Push, gate: Gate) -> Admission:
        """What a push to a gate's source means for the gate, however it became known.

        Raises:
            Retry: others change the candidate all the time.
        """
        if self._find.latest(gate, push.digest) is None:
            candidate = self._new(push, gate)
            if self._services.ledger.insert(candidate) is not None:
                return Admission(Outcome.CANDIDATE, f"{candidate.image} as {push.tag}", (candidate.look,))
        for _ in range(_WRITE_ATTEMPTS):
            latest = self._find.latest(gate, push.digest)
            assert latest is not None  # it was there, or the insert above found one
            changed, admission = _sighted(latest.record, push)
            if changed is latest.record:
                return admission
            try:
                self._services.ledger.save(latest, changed)
            except Conflict:
                continue
            return admission
        raise Retry(f"candidate {push.digest} of gate {gate.name} is being changed by others all the time")

    def _new(self, push: Push, gate: Gate) -> Candidate:
        now, source = self._services.clock.now(), self._services.registry_rule(gate.source.registry)
        return Candidate(
            gate=gate.name,
            digest=push.digest,
            attempt=1,
            source_registry=source.name,
            repository=push.repository,
            login_server=source.login_server,
            fingerprint=gate.fingerprint,
            tags=(TagRecord(tag=push.tag, pushed_at=push.at),),
            checks=new_checks(gate),
            found_by=push.found_by,
            created_at=now,
        ).noting(now, "admitted", push.told)

    def image(self, push: Push, app: App) -> Admission:
        """What a push of an app's image means, however it became known."""
        run_id = app.build.run_of(push.tag)
        if run_id is None:
            return Admission(Outcome.NO_RULE, f"{push.tag} does not follow {app.build.image} of app {app.name}")
        if run_id in self._records.load(app.name).record.runs:
            return Admission(Outcome.ECHO, f"{push.tag} is a build that Basegate started")
        if app.deploy is None:
            return Admission(Outcome.NO_RULE, f"app {app.name} is not deployed")
        rollout = self._pushed_image(push, app)
        if self._services.ledger.insert(rollout) is None:
            return Admission(Outcome.DUPLICATE, f"rollout {rollout.name} is there already", (rollout.look,))
        return Admission(Outcome.ROLLOUT, f"{rollout.image} for app {app.name}", (rollout.look,))

    def _pushed_image(self, push: Push, app: App) -> Rollout:
        now = self._services.clock.now()
        image = BuiltImage(
            login_server=self._services.registry_rule(app.build.registry).login_server,
            repository=push.repository,
            tag=push.tag,
            digest=push.digest,
            built_at=push.at,
        )
        return Rollout(
            app=app.name,
            name=image_rollout(push.digest, push.tag),
            cause=Cause.IMAGE,
            state=RolloutState.DEPLOYING,
            created_at=now,
            image=image,
        ).noting(now, "started", f"{image} was pushed by someone else: {push.told}")


def image_rollout(digest: str, tag: str) -> str:
    """The name of the rollout of an image that someone else pushed: the same however often it is told."""
    return f"image-{short(digest)}-{tag}"


def _sighted(candidate: Candidate, push: Push) -> tuple[Candidate, Admission]:
    """The candidate after one more push of its digest."""
    index = candidate.tag_index(push.tag)
    if index is None and len(candidate.tags) >= TAGS_LIMIT:
        return candidate, Admission(Outcome.TOO_MANY_TAGS, f"{push.tag} of {candidate.image}")
    if index is None:
        record = TagRecord(tag=push.tag, pushed_at=push.at)
        added = msgspec.structs.replace(candidate, tags=(*candidate.tags, record))
        if candidate.finished:
            added = msgspec.structs.replace(added, tags=(*candidate.tags, _as_resighted(record)))
        return added, Admission(Outcome.TAG_ADDED, f"{push.tag} of {candidate.image}", (candidate.look,))
    tag = candidate.tags[index]
    if push.at <= (tag.resighted_at or tag.pushed_at):
        return candidate, Admission(Outcome.DUPLICATE, f"{candidate.image} as {push.tag} is known", (candidate.look,))
    again = candidate.with_tag(index, resighted_at=push.at)
    return again, Admission(Outcome.PUSHED_AGAIN, f"{candidate.image} as {push.tag}", (candidate.look,))


def _as_resighted(tag: TagRecord) -> TagRecord:
    """A new tag of a finished candidate: marked so that the candidate is taken up again."""
    return msgspec.structs.replace(tag, resighted_at=tag.pushed_at)
