"""Turns an event into hints, and a hint into an observation, or into the rollout of an app image built elsewhere.

An event only says which tag to read: its digest is never trusted.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from shared.domain.candidate import Candidate, FoundBy, attempts_of
from shared.domain.errors import BasegateError, Busy, Conflict, Malformed, Retry
from shared.domain.event import EventKind, Hint, HintKind, IrrelevantEvent, RegistryEvent, parse_event
from shared.domain.image import Digest, Tag, short
from shared.domain.observation import Change as Meaning
from shared.domain.observation import Expectation, Observation
from shared.domain.outcome import Outcome
from shared.domain.policy import App, Gate, Policy, RegistryRule
from shared.domain.promotion import Promotion, promotion_row
from shared.domain.record import Record, WorkItem
from shared.domain.rollout import AppRecord, BuiltImage, Cause, Rollout, image_rollout
from shared.intake.observe import Observed, Observer, Trigger
from shared.intake.upstreams import Upstreams
from shared.ports import SAVE_TRIES, Change, Services, Stored, last, read
from shared.records.outbox import Outbox
from shared.records.step import Following

log = logging.getLogger(__name__)

SPACING_SECONDS = 1.0
"""The shortest time between two readings of one tag because of hints, however many hints arrive."""

_AGAIN_SECONDS = (2.0, 8.0, 30.0)
"""When to read the tag again if the registry does not return the digest that an event named: a replica may lag."""

_LONGEST_WAIT_SECONDS = 900.0
_NOTHING = Observed(meaning=Meaning.NONE)

Handler = Callable[[Hint], Iterable[WorkItem]]
"""Handles a hint, and returns the work items of records that have a next step."""


class Recognized(msgspec.Struct, frozen=True):
    """What an event is about; `hint` is None if it does not concern this app. `outcome` is counted."""

    outcome: str
    reason: str
    hint: Hint | None = None


def recognize(payload: object, policy: Policy) -> list[Recognized]:
    """The hints in a delivered event, one for each rule that it concerns. Needs only the rules."""
    try:
        event = parse_event(payload)
    except IrrelevantEvent as error:
        return [Recognized("not an image event", str(error))]
    except Malformed as error:
        return [Recognized("malformed", str(error))]
    registry = policy.registry_by_id(event.registry_id)
    if registry is None:
        return [Recognized("unknown registry", f"{event.registry_id[:200]} is not a configured registry")]
    subject = f"{registry.login_server}/{event.repository}:{event.tag or ''}@{short(event.digest)}"
    found = [Recognized(hint.hint.value, subject, hint) for hint in _hints(event, registry, policy)]
    return found or [Recognized("no rule", f"no rule matches {subject}")]


def _hints(event: RegistryEvent, registry: RegistryRule, policy: Policy) -> Iterator[Hint]:
    named: dict[str, Any] = {"expected": event.digest, "event": event.event_id[:200]}
    if event.kind is EventKind.DELETED:
        for gate in policy.gates_into(registry, event.repository):
            yield Hint(hint=HintKind.STABLE_TAGS, subject=gate.name, **named)
        return
    if event.tag is None:
        return
    for gate in policy.gates_for(registry, event.repository, event.tag):
        yield Hint(hint=HintKind.SOURCE_TAG, subject=gate.name, tag=event.tag, **named)
    for app in policy.apps_built_as(registry, event.repository):
        if app.build.run_of(event.tag) is not None:
            yield Hint(hint=HintKind.APP_IMAGE, subject=app.name, tag=event.tag, **named)


class Hints:
    """Handles hints.

    `work` reconciles a record immediately, as just stored if it was; `others` handle the kinds of hints that are not
    about source tags.
    """

    def __init__(
        self, services: Services, work: Callable[[WorkItem, Following], None], others: Mapping[HintKind, Handler]
    ) -> None:
        self._services, self._work, self._others = services, work, others
        self._observer, self._upstreams = Observer(services), Upstreams(services)
        self._outbox = Outbox(services)

    def handle(self, hint: Hint, *, redelivered: bool = False) -> None:
        """Read what a hint names. It is retried later after a transient fault, and dropped if no rule matches."""
        try:
            observed = self._source_tag(hint, redelivered=redelivered) if hint.hint is HintKind.SOURCE_TAG else None
            items = observed.items if observed else self._others[hint.hint](hint)
        except Retry as error:
            wait = _wait_after(error)
            log.warning("hint retried in %.0f s: %s %s: %s", wait, hint.subject, hint.tag, error)
            self._services.queue.send_hint(replace(hint, again=True), wait)
        except BasegateError as error:
            log.warning("hint dropped, left to the sweep: %s %s: %s", hint.subject, hint.tag, error)
        else:
            for item in items:
                self._work(item, (observed.attempt,) if observed and observed.attempt else ())

    def _source_tag(self, hint: Hint, *, redelivered: bool) -> Observed:
        gate = self._services.gate(hint.subject)
        if gate is None or not gate.takes(hint.tag):
            log.info("hint dropped: no rule matches %s %s", hint.subject, hint.tag)
            return _NOTHING
        for _ in range(SAVE_TRIES):
            stored = self._services.ledger.load(Observation, gate.name, hint.tag)
            seen = stored.record if stored else Observation(gate=gate.name, tag=Tag(hint.tag))
            since_read = self._services.clock.now() - seen.hinted_at if seen.hinted_at else timedelta.max
            if hint.tries and since_read < timedelta(seconds=_AGAIN_SECONDS[hint.tries - 1] / 2):
                self._follow_up(gate, hint)  # another worker has read it at about the planned time
                return _NOTHING
            with suppress(Conflict):
                if not redelivered and self._is_covered(seen, stored, hint):
                    return _NOTHING
                return self._read(gate, seen, stored, hint, redelivered=redelivered)
        raise Busy(f"too many conflicts on tag {hint.tag} of gate {gate.name}", delay_seconds=SPACING_SECONDS)

    def _is_covered(self, seen: Observation, stored: Stored[Observation] | None, hint: Hint) -> bool:
        """Whether a planned reading covers a hint; a hint that comes too soon after the last reading plans one.

        Raises:
            Conflict: another worker has read the tag meanwhile.
        """
        now = self._services.clock.now()
        if hint.again:
            return False
        if seen.again_at is not None and seen.again_at > now:
            return True
        if seen.hinted_at is None or (now - seen.hinted_at).total_seconds() >= SPACING_SECONDS:
            return False
        self._plan(seen, stored, SPACING_SECONDS)
        self._services.queue.send_hint(replace(hint, again=True), SPACING_SECONDS)
        return True

    def _plan(self, seen: Observation, stored: Stored[Observation] | None, wait: float) -> None:
        """Record that a reading is planned: until then further hints are dropped."""
        again_at = self._services.clock.now() + timedelta(seconds=wait)
        self._services.ledger.commit(Change(replace(seen, again_at=again_at), stored))

    def _read(
        self, gate: Gate, seen: Observation, stored: Stored[Observation] | None, hint: Hint, *, redelivered: bool
    ) -> Observed:
        """Read the tag, at the rate that the registry's rule allows for hints.

        Raises:
            Conflict: another worker has read it meanwhile. Busy: the registry is backing off, or this minute's share is
                used up. BasegateError: the registry's error.
        """
        try:
            digest = self._ask(gate, hint)
        except Retry as fault:
            with suppress(Conflict):
                self._plan(seen, stored, _wait_after(fault))
            raise
        observed = self._observer.record(gate, seen.tag, stored, digest, Trigger(FoundBy.EVENT, hint.expected))
        if not observed.meaning.needs_promotion:
            self._follow_up(gate, hint, observed)
        if redelivered and not observed.items:
            return replace(observed, items=self._unfinished(gate, hint.tag, observed))
        return observed

    def _ask(self, gate: Gate, hint: Hint) -> Digest | None:
        source = self._services.registry_rule(gate.source.registry)
        self._upstreams.grant(gate, for_hints=True)
        try:
            return self._services.tags.digest_of(source, gate.source.repository, hint.tag)
        except Retry as fault:
            self._upstreams.failed(gate, fault)
            raise

    def _follow_up(self, gate: Gate, hint: Hint, observed: Observed | None = None) -> None:
        """Read again, a few times, for a digest that an event named; then leave it to the sweep, and announce that."""
        if observed is not None and hint.expected == observed.digest:
            return
        stored = self._services.ledger.load(Observation, gate.name, hint.tag)
        record = stored.record if stored else Observation(gate=gate.name, tag=Tag(hint.tag))
        if hint.expected in ("", record.digest):
            return
        if hint.tries < len(_AGAIN_SECONDS):
            again = replace(hint, tries=hint.tries + 1, again=True)
            self._services.queue.send_hint(again, _AGAIN_SECONDS[hint.tries])
            return
        known = {(one.digest, one.event) for one in record.expectations}
        if hint.expected in record.earlier or (hint.expected, hint.event) in known:
            return
        unread = Expectation(digest=Digest(hint.expected), event=hint.event, at=self._services.clock.now())
        log.warning(
            "push not examined: an event named %s for tag %s of gate %s, but the source registry never returned it",
            short(hint.expected), hint.tag, gate.name,
        )  # fmt: skip
        data = {"gate": gate.name, "tag": hint.tag, "digest": hint.expected, "event": hint.event}
        outcome = Outcome(name="PushNotExamined", subject=f"gates/{gate.name}/tags/{hint.tag}", page="drift", data=data)
        expecting, written = self._outbox.put(record.with_expectation(unread), outcome)
        try:
            self._services.ledger.commit(Change(expecting, stored), *written)
        except Conflict:  # just observed by another worker, perhaps with the expected digest
            self._services.queue.send_hint(replace(hint, again=True), SPACING_SECONDS)
        else:
            self._outbox.send_now(written)

    def _unfinished(self, gate: Gate, tag: str, observed: Observed) -> tuple[WorkItem, ...]:
        """The work items that a worker left when it died after saving its observation."""
        ledger = self._services.ledger
        promotion = ledger.load(Promotion, gate.name, promotion_row(tag, observed.sequence))
        if promotion is None:
            return ()
        attempt = last(ledger, Candidate, gate.name, attempts_of(promotion.record.digest))
        records: list[Record] = [*([attempt.record] if attempt else []), promotion.record]
        return tuple(record.work_item for record in records if not record.settled)


def _wait_after(fault: Retry) -> float:
    return min(max(fault.delay_seconds, 1.0), _LONGEST_WAIT_SECONDS)


class AppImages:
    """Creates rollouts of app images that someone else built, e.g. a commit-triggered task.

    The rollout traces the run that built the image, and so decides whether it is deployed.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def handle(self, hint: Hint) -> list[WorkItem]:
        """Read the tag that a hint names; the work item of the rollout of its image, if it has a next step."""
        app = self._services.app(hint.subject)
        if app is None or not self.takes(app, hint.tag, read(self._services.ledger, AppRecord(app=app.name))):
            return []
        registry = self._services.registry_rule(app.build.registry)
        digest = self._services.registry.digest_of(registry, app.build.repository, hint.tag)
        if digest is None:
            log.info("hint dropped: %s/%s:%s does not exist", registry.login_server, app.build.repository, hint.tag)
            return []
        rollout = self.roll_out(app, hint.tag, digest, "pushed by someone else")
        return [rollout.work_item] if rollout else []

    def takes(self, app: App, tag: str, record: AppRecord) -> bool:
        """Whether a tag may name an image to deploy: it contains the id of a run that Basegate did not start."""
        run_id, server = app.build.run_of(tag), self._services.registry_rule(app.build.registry).login_server
        return app.deploy is not None and run_id is not None and f"{server}/{run_id}" not in record.runs

    def roll_out(self, app: App, tag: str, digest: Digest, why: str) -> Rollout | None:
        """The rollout of an image, created only once; None if it is in progress or settled already."""
        now, registry = self._services.clock.now(), self._services.registry_rule(app.build.registry)
        server, repository = registry.login_server, app.build.repository
        image = BuiltImage(login_server=server, repository=repository, tag=tag, digest=digest, built_at=now)
        why, record = f"{image} ({digest}) was {why}", read(self._services.ledger, AppRecord(app=app.name))
        rollout = record.new_rollout(image_rollout(tag, digest), Cause.IMAGE, now, why, image=image)
        if self._services.ledger.insert(rollout) is not None:
            return rollout
        known = self._services.ledger.load(Rollout, app.name, rollout.name)
        is_idle = known is not None and not known.record.settled and known.record.next_step_at is None
        return known.record if known is not None and is_idle else None
