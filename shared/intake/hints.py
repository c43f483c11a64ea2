"""From an event to a hint, and from a hint to an observation. An event is believed in nothing but where to look."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec

from shared.domain.candidate import Candidate, FoundBy, attempts_of
from shared.domain.errors import BasegateError, Busy, Conflict, Malformed, Retry
from shared.domain.event import EventKind, RegistryEvent, UnwantedEvent, parse_event
from shared.domain.hint import Hint, HintKind
from shared.domain.image import Digest, Tag, short
from shared.domain.observation import Expectation, Observation, ReadLease
from shared.domain.policy import Gate, Policy, RegistryRule
from shared.domain.promotion import Promotion, promotion_row
from shared.domain.record import Record, WorkItem
from shared.intake.observe import Observed, Observer, Trigger
from shared.intake.upstreams import Upstreams
from shared.ports import Change, Outcome, Stored
from shared.ports.services import Services

log = logging.getLogger(__name__)

LEASE_SECONDS = 60.0
SPACING_SECONDS = 1.0
"""How soon after a reading on account of a hint the same tag is read again, whatever the hints say."""

_AGAIN_SECONDS = (2.0, 8.0, 30.0)
"""When to look again for a digest that an event named and the registry does not answer yet: a replica may lag."""

_LONGEST_WAIT_SECONDS = 900.0
_READS_A_LEASE = 3
_RACES = 5


class Recognized(msgspec.Struct, frozen=True):
    """What an event is about; `hint` is None where it is none of this app's business. `outcome` is counted."""

    outcome: str
    reason: str
    hint: Hint | None = None


def recognize(payload: object, policy: Policy) -> list[Recognized]:
    """Where a delivered event says to look, once for each rule it concerns. Needs the rules, and nothing else."""
    try:
        event = parse_event(payload)
    except UnwantedEvent as error:
        return [Recognized("not an image event", str(error))]
    except Malformed as error:
        return [Recognized("malformed", str(error))]
    registry = policy.registry_by_id(event.registry_id)
    if registry is None:
        return [Recognized("unknown registry", f"{event.registry_id[:200]} is no configured registry")]
    subject = f"{registry.login_server}/{event.repository}:{event.tag or ''}@{short(event.digest)}"
    found = [Recognized(hint.hint.value, subject, hint) for hint in _hints(event, registry, policy)]
    return found or [Recognized("no rule", f"no rule is about {subject}")]


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
    """Follows hints.

    `work` goes on with a record at once; `others` handle the kinds of hints that are not about source tags, and return
    the records that have something to do.
    """

    def __init__(
        self,
        services: Services,
        work: Callable[[WorkItem], None],
        others: Mapping[HintKind, Callable[[Hint], Iterable[WorkItem]]],
    ) -> None:
        self._services, self._work, self._others = services, work, others
        self._observer, self._upstreams = Observer(services), Upstreams(services)

    def handle(self, hint: Hint, *, redelivered: bool = False) -> None:
        """Look where a hint says. What cannot be looked at now is put off; what the rules do not name is dropped."""
        try:
            if hint.hint is HintKind.SOURCE_TAG:
                items = self._source_tag(hint, redelivered=redelivered)
            else:
                items = tuple(self._others[hint.hint](hint))
        except BasegateError as error:
            self._put_off(hint, error)
            return
        for item in items:
            self._work(item)

    def _source_tag(self, hint: Hint, *, redelivered: bool) -> tuple[WorkItem, ...]:
        gate = self._services.gate(hint.subject)
        if gate is None or not gate.takes(hint.tag):
            log.info("hint dropped: no rule is about %s %s", hint.subject, hint.tag)
            return ()
        if hint.tries and self._was_read_lately(gate, hint):
            self._follow_up(gate, hint)
            return ()
        lease = self._take_lease(gate, Tag(hint.tag), hint, redelivered=redelivered)
        return self._leased(gate, hint, lease, redelivered=redelivered) if lease else ()

    def _leased(self, gate: Gate, hint: Hint, lease: Stored[ReadLease], *, redelivered: bool) -> tuple[WorkItem, ...]:
        """Read the tag, again where further hints came meanwhile, and release the lease."""
        items: list[WorkItem] = []
        for _ in range(_READS_A_LEASE):
            try:
                observed = self._read(gate, hint)
            except BasegateError as error:
                self._release(lease, _wait_after(error) if isinstance(error, Retry) else 0.0)
                self._put_off(hint, error)
                return tuple(items)
            items += observed.items
            released = self._release(lease)
            if released is None:
                break
            lease = released
        if not observed.meaning.is_news:
            self._follow_up(gate, hint)
        if redelivered and not items:
            return self._left_behind(gate, hint.tag, observed)
        return tuple(items)

    def _put_off(self, hint: Hint, error: BasegateError) -> None:
        if not isinstance(error, Retry):
            log.warning("hint dropped, the sweep looks again: %s %s: %s", hint.subject, hint.tag, error)
            return
        wait = _wait_after(error)
        log.warning("hint put off for %.0f s: %s %s: %s", wait, hint.subject, hint.tag, error)
        self._services.queue.send_hint(msgspec.structs.replace(hint, again=True), wait)

    def _read(self, gate: Gate, hint: Hint) -> Observed:
        """Read the tag, at the pace that the registry's rule gives to hints.

        Raises:
            Busy: the registry is backing off, or this minute's share is used up.
        """
        source = self._services.registry_rule(gate.source.registry)
        self._upstreams.grant(source, for_hints=True)
        try:
            return self._observer.observe(gate, Tag(hint.tag), Trigger(FoundBy.EVENT, hint.expected))
        except Busy:
            raise
        except Retry as fault:
            self._upstreams.failed(source, fault)
            raise

    def _take_lease(self, gate: Gate, tag: Tag, hint: Hint, *, redelivered: bool) -> Stored[ReadLease] | None:
        """The lease of a tag; None where its holder, or a reading that is planned already, sees to this hint too.

        A redelivered hint takes the lease in any case: its holder may be the worker that died.
        """
        ledger = self._services.ledger
        for _ in range(_RACES):
            now = self._services.clock.now()
            stored = ledger.load(ReadLease, gate.name, tag) or ledger.insert(ReadLease(gate=gate.name, tag=tag))
            if stored is None:
                continue
            lease = stored.record
            try:
                if not redelivered and lease.is_held(now):
                    ledger.save(stored, msgspec.structs.replace(lease, wanted=lease.wanted + 1))
                    return None
                if not (redelivered or hint.again):
                    if lease.again_at is not None and lease.again_at > now:
                        return None
                    if lease.read_at is not None and (now - lease.read_at).total_seconds() < SPACING_SECONDS:
                        again_at = now + timedelta(seconds=SPACING_SECONDS)
                        ledger.save(stored, msgspec.structs.replace(lease, again_at=again_at))
                        self._services.queue.send_hint(msgspec.structs.replace(hint, again=True), SPACING_SECONDS)
                        return None
                until = now + timedelta(seconds=LEASE_SECONDS)
                held = ReadLease(gate=gate.name, tag=tag, holder=secrets.token_hex(8), until=until)
                return ledger.save(stored, held)
            except Conflict:
                continue
        raise Busy(f"others read {tag} of gate {gate.name} all the time", delay_seconds=SPACING_SECONDS)

    def _release(self, lease: Stored[ReadLease], again_in: float = 0.0) -> Stored[ReadLease] | None:
        """Release the lease. The lease again, where a further hint came meanwhile: then the tag is to be read again.

        `again_in` is the wait, in seconds, before a reading that is planned: until then further hints end.
        """
        now, ledger = self._services.clock.now(), self._services.ledger
        free = msgspec.structs.replace(lease.record, holder="", until=None, wanted=0, read_at=now)
        if again_in:
            free = msgspec.structs.replace(free, read_at=None, again_at=now + timedelta(seconds=again_in))
        try:
            ledger.save(lease, free)
        except Conflict:
            current = ledger.load(ReadLease, lease.record.gate, lease.record.tag)
            return current if current is not None and current.record.holder == lease.record.holder else None
        return None

    def _was_read_lately(self, gate: Gate, hint: Hint) -> bool:
        """Whether somebody has read the tag at about the time for which another reading was planned."""
        stored = self._services.ledger.load(ReadLease, gate.name, hint.tag)
        read_at = stored.record.read_at if stored else None
        within = _AGAIN_SECONDS[hint.tries - 1] / 2
        return read_at is not None and (self._services.clock.now() - read_at).total_seconds() < within

    def _follow_up(self, gate: Gate, hint: Hint) -> None:
        """Look again for a digest that was named and not read, a few times; then leave it to the sweep, and say so."""
        stored = self._services.ledger.load(Observation, gate.name, hint.tag)
        record = stored.record if stored else Observation(gate=gate.name, tag=Tag(hint.tag))
        if not hint.expected or hint.expected == record.digest:
            return
        if hint.tries < len(_AGAIN_SECONDS):
            again = msgspec.structs.replace(hint, tries=hint.tries + 1, again=True)
            self._services.queue.send_hint(again, _AGAIN_SECONDS[hint.tries])
            return
        if hint.expected in record.earlier:
            return
        unread = Expectation(digest=Digest(hint.expected), event=hint.event, at=self._services.clock.now())
        log.warning(
            "push not examined: an event named %s for %s of gate %s, and its source never answered it",
            short(hint.expected), hint.tag, gate.name,
        )  # fmt: skip
        changed = record.expecting(unread)
        with suppress(Conflict):  # it was observed anew this moment: nothing is missing
            self._services.ledger.commit(Change(changed, stored))
        self._announce_unread(gate, hint)

    def _announce_unread(self, gate: Gate, hint: Hint) -> None:
        data = {"gate": gate.name, "tag": hint.tag, "digest": hint.expected, "event": hint.event}
        outcome = Outcome(name="PushNotExamined", subject=f"gates/{gate.name}/tags/{hint.tag}", page="drift", data=data)
        try:
            self._services.announcer.announce(outcome)
        except BasegateError as error:
            log.warning("announcement PushNotExamined of %s failed: %s", gate.name, error)

    def _left_behind(self, gate: Gate, tag: str, observed: Observed) -> tuple[WorkItem, ...]:
        """What a worker that died after its observation was saved has left to do."""
        ledger = self._services.ledger
        promotion = ledger.load(Promotion, gate.name, promotion_row(tag, observed.sequence))
        if promotion is None:
            return ()
        attempts = list(ledger.list(Candidate, gate.name, attempts_of(promotion.record.digest)))
        records: list[Record] = [*(attempt.record for attempt in attempts[-1:]), promotion.record]
        return tuple(record.work_item for record in records if record.is_open)


def _wait_after(fault: Retry) -> float:
    return min(max(fault.delay_seconds, 1.0), _LONGEST_WAIT_SECONDS)
