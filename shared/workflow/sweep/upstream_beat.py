"""The upstream beat: what every tracked tag of a gate's source is now."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime

import msgspec

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.errors import BasegateError, Busy, Malformed, Misconfigured, Rejected, Throttled
from shared.domain.image import Digest
from shared.domain.policy import Gate
from shared.domain.tag_rule import TagRule
from shared.workflow.services import Services
from shared.workflow.sweep.alarms import Alarms
from shared.workflow.sweep.sightings import Compared, Sightings
from shared.workflow.sweep.tour import Tour, in_slices
from shared.workflow.sweep.tracked import TrackedTags
from shared.workflow.sweep.upstreams import Upstreams

_SLICE_TAGS = 200

_ODD_TAGS = 3
"""How many tags of a slice may fail where others are answered, and the registry still counts as well."""

ADMISSIONS_A_ROUND = 50
"""How many candidates a sweep admits at most: a rule that has just been widened must not start a thousand runs."""

Look = Digest | BasegateError | None


class UpstreamBeat:
    """Looks at the source of one gate: one HEAD a tag, three queries a slice, nothing written where all is known."""

    def __init__(self, services: Services, gate: Gate) -> None:
        self._services, self._gate = services, gate
        self._sightings, self._upstreams, self._alarms = (
            Sightings(services, gate),
            Upstreams(services),
            Alarms(services),
        )
        self._rule = services.registry_rule(gate.source.registry)
        self.name, self.lane = f"upstream.{gate.name}", f"upstream {self._rule.login_server}"
        self.every_seconds = float(self._rule.watch_seconds)
        self._scope, self._source = f"gates/{gate.name}", f"{self._rule.login_server}/{gate.source.repository}"

    def slices(self, tour: Tour) -> Iterator[str]:
        """Sweep the tags from the cursor on, which is the last tag that was looked at."""
        self._upstreams.refuse_while_paused(self._rule)
        standing = self._alarms.standing(self._scope)
        away = (alarm.subject for alarm in standing if alarm.kind is AlarmKind.TAG_AWAY)
        tracked = TrackedTags(TagRule.of(self._gate.source), lambda: self._listed(tour), away)
        admitted = 0
        for number, tags in enumerate(self._granted(tour, in_slices(tracked.behind(tour.record.after), _SLICE_TAGS))):
            compared = self._slice(tour, tags, ADMISSIONS_A_ROUND - admitted)
            admitted += compared.admitted
            if number == 0 and not tour.dry_run:
                self._upstreams.answered(self._rule)  # one that answers, if not always, is not left alone ever longer
            yield compared.last
            if admitted >= ADMISSIONS_A_ROUND:
                raise Busy(f"{admitted} candidates were admitted: the other tags come with the next sweep")
        self._settle_missing(tour, tracked, standing)
        if not tour.dry_run:
            self._upstreams.answered(self._rule)

    def _granted(self, tour: Tour, slices: Iterator[list[str]]) -> Iterator[list[str]]:
        """The slices, cut to what the registry may be asked for now. Raises `Busy` where that is nothing."""
        for tags in slices:
            begun = 0
            while begun < len(tags):
                left = len(tags) - begun
                granted = left if tour.dry_run else self._upstreams.grant(self._rule, left)
                yield tags[begun : begun + granted]
                begun += granted

    def _listed(self, tour: Tour) -> Iterator[str]:
        """All tags of the repository.

        Raises:
            BasegateError: they cannot be listed; that is noted as a look that failed is.
        """
        try:
            yield from self._services.tags.tags(self._rule, self._gate.source.repository)
        except BasegateError as fault:
            if isinstance(fault, Misconfigured | Malformed | Rejected):
                self._settle_away(tour, str(fault))
            self._note_failure(tour, fault)
            raise

    def _slice(self, tour: Tour, tags: list[str], room: int) -> Compared:
        """Look at some tags, and admit no more candidates than there is room for.

        Raises:
            BasegateError: the registry did not answer; what it did answer is taken in all the same.
        """
        at = self._services.clock.now()  # before the looks: a push that comes after one is later than what it saw
        looks = dict(zip(tags, self._look_at(tour, tags), strict=True))
        seen = {tag: look for tag, look in looks.items() if isinstance(look, str)}
        compared = self._sightings.compare(tour, seen, at, room)
        self._settle_alarms(tour, looks, at)
        fault = next((look for look in looks.values() if _is_away(look)), None)
        if isinstance(fault, BasegateError):
            self._note_failure(tour, fault)
            raise fault
        done = tags if compared.last == next(reversed(seen), "") else tags[: tags.index(compared.last) + 1]
        tour.record = msgspec.structs.replace(tour.record, looked=tour.record.looked + len(done))
        return Compared(compared.admitted, done[-1])

    def _note_failure(self, tour: Tour, fault: BasegateError) -> None:
        """Leave the registry alone for a while, where it is the registry that failed."""
        if _is_away(fault) and not tour.dry_run:
            self._upstreams.failed(self._rule, fault)

    def _look_at(self, tour: Tour, tags: list[str]) -> list[Look]:
        """What each tag is. A registry that fails is asked no more.

        Where a few tags fail and others are answered, it is the tags: they are asked once more, and then left out.
        """
        faults: list[BasegateError] = []

        def look(tag: str) -> Look:
            return faults[-1] if _is_enough(faults) else self._look(tag, faults)

        looks = tour.spread(look, tags)
        if not faults or _is_enough(faults) or all(map(_is_away, looks)):
            return looks
        faults = []
        again = [self._look(tag, faults) if _is_away(seen) else seen for tag, seen in zip(tags, looks, strict=True)]
        return [Rejected(str(seen)) if _is_away(seen) else seen for seen in again]

    def _look(self, tag: str, faults: list[BasegateError]) -> Look:
        try:
            return self._services.tags.digest_of(self._rule, self._gate.source.repository, tag)
        except BasegateError as error:
            if _is_away(error):
                faults.append(error)
            return error

    def _settle_alarms(self, tour: Tour, looks: dict[str, Look], at: datetime) -> None:
        """A tag that is not there, an answer that cannot be used, a door that is shut: a person must see to it."""
        if _is_whole(self._gate, looks) and not any(looks.values()):
            words = (
                f"{self._source} has none of the {len(looks)} tags that are tracked: is it deleted, renamed or private?"
            )
            self._settle_away(tour, words)
            return
        found = [
            self._alarm(AlarmKind.TAG_AWAY, tag, f"there is no {self._source}:{tag}" if look is None else str(look), at)
            for tag, look in looks.items()
            if look is None or isinstance(look, Malformed | Rejected)
        ]
        looked_at = {(AlarmKind.TAG_AWAY, tag) for tag, look in looks.items() if not _is_away(look)}
        shut = next((look for look in looks.values() if isinstance(look, Misconfigured)), None)
        if shut is not None:
            found.append(self._alarm(AlarmKind.UPSTREAM_AWAY, self._gate.source.repository, str(shut), at))
        elif looked_at:
            looked_at.add((AlarmKind.UPSTREAM_AWAY, self._gate.source.repository))
        self._alarms.settle(tour, self._scope, looked_at, found)

    def _settle_missing(self, tour: Tour, tracked: TrackedTags, standing: list[Alarm]) -> None:
        """At the end of a round: what is not tracked any more is nobody's concern, but no tag at all is."""
        over = {(AlarmKind.TAG_AWAY, tag) for tag in tracked.missed}
        sources = {(alarm.kind, alarm.subject) for alarm in standing if alarm.kind is AlarmKind.UPSTREAM_AWAY}
        over |= sources - {(AlarmKind.UPSTREAM_AWAY, self._gate.source.repository)}
        if over:
            self._alarms.settle(tour, self._scope, over, ())
        if tracked.is_empty:
            self._settle_away(tour, f"{self._source} has no tag that is tracked: is it deleted, renamed or private?")

    def _settle_away(self, tour: Tour, words: str) -> None:
        """An alarm about the repository as a whole."""
        subject = self._gate.source.repository
        alarm = self._alarm(AlarmKind.UPSTREAM_AWAY, subject, words, self._services.clock.now())
        self._alarms.settle(tour, self._scope, {(AlarmKind.UPSTREAM_AWAY, subject)}, [alarm])

    def _alarm(self, kind: AlarmKind, subject: str, words: str, at: datetime) -> Alarm:
        plan = "every sweep looks again; mend the rule, the credentials or the registry"
        return Alarm(scope=self._scope, kind=kind, subject=subject, words=words, plan=plan, since=at)


def _is_enough(faults: list[BasegateError]) -> bool:
    """Whether it is the registry that fails: it says so itself, or more tags fail than can be odd."""
    return len(faults) > _ODD_TAGS or any(isinstance(fault, Throttled | Misconfigured) for fault in faults)


def _is_whole(gate: Gate, looks: Collection[str]) -> bool:
    """Whether these are all the tags of a gate, and several."""
    rule = TagRule.of(gate.source)
    return not rule.needs_listing and len(looks) == len(set(rule.exact)) > 1


def _is_away(look: Look) -> bool:
    """Whether the registry itself did not answer, or lets nobody in: asking for another tag would change nothing."""
    return isinstance(look, BasegateError) and not isinstance(look, Malformed | Rejected)
