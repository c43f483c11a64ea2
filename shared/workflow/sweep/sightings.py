"""What the looks at upstream tags mean for the ledger: what no event told is taken in, and how it became known counted.

A found digest is admitted as if an event had told of it, dated by the moment before the look. That mends nothing, so
it is done whatever the gate's `drift` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from shared.domain.candidate import Candidate, FoundBy
from shared.domain.event import Push
from shared.domain.image import Digest, Tag, parse_repository, parse_tag
from shared.domain.policy import Gate
from shared.domain.sighting import Reading, Sighting, read_sighting, standing
from shared.domain.track import Track
from shared.ports import Stored
from shared.workflow.admit import Admit, Outcome
from shared.workflow.find import Find
from shared.workflow.services import Services
from shared.workflow.sweep.tour import Tour


class Compared(NamedTuple):
    """How many new digests were admitted, and the last tag that was compared ("": none was)."""

    admitted: int
    last: str


class Sightings:
    """Compares the upstream tags of one gate with what was known of them."""

    def __init__(self, services: Services, gate: Gate) -> None:
        self._services, self._gate = services, gate
        self._admit, self._find = Admit(services), Find(services)

    def compare(self, tour: Tour, seen: Mapping[str, Digest], at: datetime, room: int) -> Compared:
        """Compare some tags, by two queries; where nothing has changed that is all.

        It stops behind the tag with which as many new digests were admitted as there is room for.
        """
        if not seen:
            return Compared(0, "")
        ledger, gate, span = self._services.ledger, self._gate.name, (min(seen), max(seen))
        known = {row: stored for stored in ledger.between(Sighting, gate, *span) if (row := stored.record.row) in seen}
        tracks = {
            row: stored.record for stored in ledger.between(Track, gate, *span) if (row := stored.record.row) in seen
        }
        admitted, last = 0, ""
        for name, digest in seen.items():
            stored, track, last = known.get(name), tracks.get(name), name
            if stored is None or not stored.record.covers(digest, track):
                admitted += self._changed(tour, parse_tag(name), digest, stored, track, at)
            if admitted >= room:
                break
        return Compared(admitted, last)

    def _changed(
        self,
        tour: Tour,
        tag: Tag,
        digest: Digest,
        stored: Stored[Sighting] | None,
        track: Track | None,
        at: datetime,
    ) -> bool:
        """Find out what a change means, and take it in. Written down last: a crash before it finds the same again."""
        latest = self._find.latest(self._gate, digest)
        candidate = latest.record if latest else None
        reading = read_sighting(tag, digest, candidate, track)
        done = self._take_in(tour, tag, digest, reading, at) if reading.is_news else reading is Reading.KNOWN
        if not tour.dry_run:
            stable, held = standing(track)
            told = not reading.is_news and _was_told(candidate)
            same = stored is not None and stored.record.digest == digest
            asked_for = not reading.is_news and candidate is not None and candidate.found_by is FoundBy.OPERATOR
            if stored is not None and not same and not asked_for:
                self._count(tour, told=told)
            since = stored.record.since if stored is not None and same else at
            self._write_down(
                stored,
                Sighting(
                    gate=self._gate.name,
                    tag=tag,
                    digest=digest,
                    since=since,
                    stable=stable,
                    held=held,
                    told=told,
                    settled=done,
                ),
            )
        return reading is Reading.NEW

    def _take_in(self, tour: Tour, tag: Tag, digest: Digest, reading: Reading, at: datetime) -> bool:
        """Tell the gate. True where that was refused for good, and telling it again would change nothing."""
        repository = self._gate.source.repository
        source = self._services.registry_rule(self._gate.source.registry)
        tour.note(f"examine, {reading}", f"{source.login_server}/{repository}:{tag} is {digest}")
        if tour.dry_run:
            return False
        push = Push(
            repository=parse_repository(repository),
            tag=tag,
            digest=digest,
            at=at,
            told=f"found by sweep as {tag} at {at:%Y-%m-%dT%H:%M:%SZ}: {reading}, and no event had told",
            found_by=FoundBy.SWEEP,
        )
        admission = self._admit.push(push, self._gate)
        for look in admission.looks:
            self._services.queue.send(look, 0)
        return admission.outcome is Outcome.TOO_MANY_TAGS

    def _count(self, tour: Tour, *, told: bool) -> None:
        """Count how a change became known. A tag's first sighting does not count: it may be as old as it likes."""
        record, since = tour.record, tour.record.last_began_at
        if told:
            tour.record = msgspec.structs.replace(record, told=record.told + 1)
            return
        within = (self._services.clock.now() - since).total_seconds() if since else 0.0
        slowest = max(record.recovery_seconds, within)
        tour.record = msgspec.structs.replace(record, found=record.found + 1, recovery_seconds=slowest)

    def _write_down(self, stored: Stored[Sighting] | None, seen: Sighting) -> None:
        if stored is None:
            self._services.ledger.insert(seen)
        elif stored.record != seen:
            self._services.ledger.save(stored, seen)


def _was_told(candidate: Candidate | None) -> bool:
    return candidate is not None and candidate.found_by is FoundBy.EVENT
