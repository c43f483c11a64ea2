"""The upstream beat: what every tracked tag of a gate's source is now."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import dropwhile

import msgspec

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.errors import BasegateError, Busy, Malformed, Misconfigured, Rejected
from shared.domain.image import Digest
from shared.domain.policy import Gate
from shared.domain.tag_rule import TagRule
from shared.workflow.services import Services
from shared.workflow.sweep.alarms import Alarms
from shared.workflow.sweep.sightings import Sightings
from shared.workflow.sweep.tour import Tour, in_order, in_slices
from shared.workflow.sweep.upstreams import Upstreams

_SLICE_TAGS = 200
_SORTED_TAGS = 10_000
"""Many registries list tags in no order. Sorted, a slice is a narrow range of the ledger, which holds little else."""

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

    def slices(self, tour: Tour) -> Iterator[str]:
        """Sweep the tags from the cursor on, which is the last tag that was looked at."""
        admitted = 0
        for tags in self._granted(tour, in_slices(self._tracked(tour.record.after), _SLICE_TAGS)):
            admitted += self._slice(tour, tags)
            yield tags[-1]
            if admitted >= ADMISSIONS_A_ROUND:
                raise Busy(f"{admitted} candidates were admitted: the other tags come with the next sweep")
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

    def _tracked(self, after: str) -> Iterator[str]:
        """The tracked tags behind the cursor, in an order that stays. A cursor that is gone means to begin anew."""
        rule = TagRule.of(self._gate.source)
        if not rule.needs_listing:
            return (tag for tag in sorted(rule.exact) if tag > after)
        if not after:
            return self._listed(rule)
        behind = dropwhile(lambda tag: tag != after, self._listed(rule))
        return behind if next(behind, None) == after else self._listed(rule)

    def _listed(self, rule: TagRule) -> Iterator[str]:
        tags = self._services.tags.tags(self._rule, self._gate.source.repository)
        return in_order(rule.select(tags), _SORTED_TAGS)

    def _slice(self, tour: Tour, tags: list[str]) -> int:
        """Look at some tags; returns how many candidates were admitted.

        Raises:
            BasegateError: the registry did not answer; what it did answer is taken in all the same.
        """
        at = self._services.clock.now()  # before the looks: a push that comes after one is later than what it saw
        looks = dict(zip(tags, self._look_at(tour, tags), strict=True))
        admitted = self._sightings.compare(tour, {tag: d for tag, d in looks.items() if isinstance(d, str)}, at)
        self._settle_alarms(tour, looks, at)
        tour.record = msgspec.structs.replace(tour.record, looked=tour.record.looked + len(tags))
        fault = next((look for look in looks.values() if _is_away(look)), None)
        if isinstance(fault, BasegateError):
            if not tour.dry_run:
                self._upstreams.failed(self._rule, fault)
            raise fault
        return admitted

    def _look_at(self, tour: Tour, tags: list[str]) -> list[Look]:
        """What each tag is. After a first failure of the registry nothing more is sent to it."""
        fault: list[BasegateError] = []

        def look(tag: str) -> Look:
            if fault:
                return fault[0]
            try:
                return self._services.tags.digest_of(self._rule, self._gate.source.repository, tag)
            except BasegateError as error:
                if _is_away(error):
                    fault.append(error)
                return error

        return tour.spread(look, tags)

    def _settle_alarms(self, tour: Tour, looks: dict[str, Look], at: datetime) -> None:
        """A tag that is not there, an answer that cannot be used, a door that is shut: a person must see to it."""
        repository = f"{self._rule.login_server}/{self._gate.source.repository}"
        found = [
            self._alarm(AlarmKind.TAG_AWAY, tag, f"there is no {repository}:{tag}" if look is None else str(look), at)
            for tag, look in looks.items()
            if look is None or isinstance(look, Malformed | Rejected)
        ]
        looked_at = {(AlarmKind.TAG_AWAY, tag) for tag, look in looks.items() if not _is_away(look)}
        shut = next((look for look in looks.values() if isinstance(look, Misconfigured)), None)
        if shut is not None:
            found.append(self._alarm(AlarmKind.UPSTREAM_AWAY, self._gate.source.repository, str(shut), at))
        elif looked_at:
            looked_at.add((AlarmKind.UPSTREAM_AWAY, self._gate.source.repository))
        self._alarms.settle(tour, f"gates/{self._gate.name}", looked_at, found)

    def _alarm(self, kind: AlarmKind, subject: str, words: str, at: datetime) -> Alarm:
        plan = "every sweep looks again; mend the rule, the credentials or the registry"
        return Alarm(scope=f"gates/{self._gate.name}", kind=kind, subject=subject, words=words, plan=plan, since=at)


def _is_away(look: Look) -> bool:
    """Whether the registry itself did not answer, or lets nobody in: asking for another tag would change nothing."""
    return isinstance(look, BasegateError) and not isinstance(look, Malformed | Rejected)
