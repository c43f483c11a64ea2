"""The upstream job: reads every tracked tag of a gate's source, and observes changes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain, dropwhile

from msgspec.structs import replace

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.candidate import FoundBy
from shared.domain.errors import BasegateError, Busy, Conflict, Malformed, Misconfigured, Rejected, Retry, Throttled
from shared.domain.image import Digest, Tag, is_tag, short
from shared.domain.observation import Change, Observation
from shared.domain.policy import Gate, seconds
from shared.domain.tag_rule import TagRule
from shared.intake.observe import Observed, Observer, Trigger
from shared.intake.upstreams import Upstreams
from shared.ports import Services, Stored
from shared.sweep.job import JobRun, SweepJob, in_batches

_BATCH_TAGS = 200

_SORTED_TAGS = 10_000
"""Many registries list tags in no order. Sorted, a batch is a narrow range of the ledger."""

_FAILING_TAGS = 3
"""How many tags of a batch may fail, if others do not, while the registry still counts as available."""

NEW_DIGESTS_A_ROUND = 50
"""The maximum number of candidates that a round begins: a rule that was just widened must not start a thousand runs."""

_BY_SWEEP = Trigger(FoundBy.SWEEP)
_TAG_ALARMS = (AlarmKind.TAG_AWAY, AlarmKind.TAG_FLAPS)
_PLAN = "every sweep reads it again; check the rule, the credentials and the registry"

TagRead = Digest | BasegateError | None


class TrackedTags:
    """One pass over the tracked tags.

    `listing` returns all tags of the repository, and is called for patterns only. At the end of the pass, `missed` are
    the configured names that were not found, and `is_empty` is whether no tag was.
    """

    def __init__(self, rule: TagRule, listing: Callable[[], Iterable[str]], given: Iterable[str] = ()) -> None:
        self._rule, self._listing = rule, listing
        self.missed, self.is_empty = set(given), True

    def behind(self, cursor: str) -> Iterator[str]:
        """The tags behind the cursor. A cursor that is gone starts from the beginning."""
        if not self._rule.needs_listing:
            return (tag for tag in self._all() if tag > cursor)
        if not cursor:
            return self._all()
        behind = dropwhile(lambda tag: tag != cursor, self._all())
        return behind if next(behind, None) == cursor else self._all()

    def _all(self) -> Iterator[str]:
        for tag in self._in_order():
            self.missed.discard(tag)
            self.is_empty = False
            yield tag

    def _in_order(self) -> Iterable[str]:
        """Configured names, whether they are listed or not, and the listed tags that match."""
        names = self._rule.exact
        if not self._rule.needs_listing:
            return sorted(names)
        others = (tag for tag in self._rule.select(self._listing()) if tag not in names)
        return chain.from_iterable(map(sorted, in_batches(chain(names, others), _SORTED_TAGS)))


class UpstreamJob(SweepJob):
    """Reads the source of one gate: one HEAD for each tag, one query for each batch, no write where nothing changed."""

    def __init__(self, services: Services, gate: Gate) -> None:
        self._gate, self._rule = gate, services.registry_rule(gate.source.registry)
        server, self._repository = self._rule.login_server, gate.source.repository
        super().__init__(services, f"upstream.{gate.name}", f"upstream {server}", f"gates/{gate.name}")
        self._observer, self._upstreams = Observer(services), Upstreams(services)
        self._source, self._tracked = f"{server}/{self._repository}", gate.source.tracked
        self.interval_seconds = float(seconds(self._rule.interval))

    def batches(self, run: JobRun) -> Iterator[str]:
        """Sweep the tags from the cursor on, which is the last tag that was read."""
        self._upstreams.check_backoff(self._gate)
        standing = self._alarms.active(self._scope)
        alarmed = (alarm.subject for alarm in standing if alarm.kind in _TAG_ALARMS)
        tracked = TrackedTags(self._tracked, lambda: self._listed(run), alarmed)
        news = 0
        for number, tags in enumerate(self._granted(run, in_batches(tracked.behind(run.record.after), _BATCH_TAGS))):
            found, last = self._batch(run, tags, NEW_DIGESTS_A_ROUND - news)
            news += found
            if number == 0 and not run.dry_run:
                self._upstreams.answered(self._gate)  # an unreliable registry must not back off ever longer
            yield last
            if news >= NEW_DIGESTS_A_ROUND:
                raise Busy(f"{news} new digests were found: the next sweep continues with the other tags")
        self._settle_missing(run, tracked, standing)
        if not run.dry_run:
            self._upstreams.answered(self._gate)

    def _granted(self, run: JobRun, batches: Iterator[list[str]]) -> Iterator[list[str]]:
        """The batches, limited by the request rate of the registry.

        Raises:
            Busy: none.
        """
        for tags in batches:
            left = tags
            while left:
                granted = len(left) if run.dry_run else self._upstreams.grant(self._gate, len(left))
                yield left[:granted]
                left = left[granted:]

    def _listed(self, run: JobRun) -> Iterator[str]:
        """All tags of the repository; invalid names are counted and left out.

        Raises:
            BasegateError: they cannot be listed; it is recorded as a failed reading.
        """
        left_out, name = 0, ""
        try:
            for text in self._services.tags.tags(self._rule, self._repository):
                if is_tag(text):
                    yield text
                else:
                    left_out, name = left_out + 1, text
        except BasegateError as fault:
            if isinstance(fault, Misconfigured | Malformed | Rejected):
                self._settle_away(run, str(fault))
            self._note_failure(run, fault)
            raise
        run.record = replace(run.record, left_out=left_out, left_out_name=ascii(name[:80])[1:-1])

    def _batch(self, run: JobRun, tags: list[str], room: int) -> tuple[int, str]:
        """Read a batch of tags, limited by the room for new digests; returns how many were found, and the last tag
        read.

        The observations are loaded before their tags are read: a digest that is saved on them is newer than they are.

        Raises:
            BasegateError: the registry is unavailable; the responses before that are observed.
        """
        wanted, ledger = set(tags), self._services.ledger
        between = ledger.between(Observation, self._gate.name, min(tags), max(tags))
        known = {stored.record.row: stored for stored in between if stored.record.row in wanted}
        reads = dict(zip(tags, self._read(run, tags), strict=True))
        seen = {tag: answer for tag, answer in reads.items() if not isinstance(answer, BasegateError)}
        news, last, flapping = self._compare(run, known, seen, room)
        self._settle_alarms(run, reads, flapping)
        fault = next((answer for answer in reads.values() if _is_away(answer)), None)
        if isinstance(fault, BasegateError):
            self._note_failure(run, fault)
            raise fault
        done = tags if last == next(reversed(seen), "") else tags[: tags.index(last) + 1]
        run.record = replace(run.record, checked=run.record.checked + len(done))
        return news, done[-1]

    def _compare(
        self, run: JobRun, known: Mapping[str, Stored[Observation]], seen: Mapping[str, Digest | None], room: int
    ) -> tuple[int, str, list[Observation]]:
        """Compare digests with the observations, up to the tag with which the room for new digests is used up.

        Returns how many new digests were found, the last tag that was compared ("": none), and the tags that flap.
        """
        now, interval = self._services.clock.now(), self._observer.interval(self._gate)
        news, last, flapping = 0, "", list[Observation]()
        for tag, digest in seen.items():
            stored, last = known.get(tag), tag
            record = stored.record if stored else Observation(gate=self._gate.name, tag=Tag(tag))
            after, change = record.read(digest, now, interval)
            if after.doubted is not None and after.is_flapping(now):
                flapping.append(after)
            if change is not Change.NONE:
                news += self._changed(run, stored, after, digest, change)
            if news >= room:
                break
        return news, last, flapping

    def _changed(
        self, run: JobRun, stored: Stored[Observation] | None, after: Observation, digest: Digest | None, change: Change
    ) -> int:
        """Observe a change. Returns the number of new digests: 1, or 0."""
        observed = Observed(meaning=change, digest=digest) if run.dry_run else self._take(after.tag, stored, digest)
        if observed is None:
            return 0
        if observed.meaning.needs_promotion:
            what = "examine" if observed.meaning is Change.NEW else "promote"
            run.note(f"{what}, {observed.meaning}", f"{self._source}:{after.tag} is {short(observed.digest or '')}")
            if stored is not None and stored.record.digest and (since := run.record.last_began_at):
                # no event reported it: it may have existed since the last round began
                slowest = max(run.record.recovery_seconds, (self._services.clock.now() - since).total_seconds())
                run.record = replace(run.record, recovery_seconds=slowest)
        for item in observed.items:
            self._services.queue.send(item, 0)
        if run.dry_run:
            return int(change is Change.NEW)
        return sum(item.kind == "candidate" for item in observed.items)

    def _take(self, tag: Tag, stored: Stored[Observation] | None, digest: Digest | None) -> Observed | None:
        """Save a reading. A tag that another worker observed meanwhile is read again; None after several conflicts."""
        try:
            return self._observer.record(self._gate, tag, stored, digest, _BY_SWEEP)
        except Conflict:
            with suppress(Busy):
                return self._observer.observe(self._gate, tag, _BY_SWEEP)
        return None

    def _note_failure(self, run: JobRun, fault: BasegateError) -> None:
        """Back off from the repository, or from its registry. A 4xx is read again by the next sweep."""
        if isinstance(fault, Retry) and not run.dry_run:
            self._upstreams.failed(self._gate, fault)

    def _read(self, run: JobRun, tags: list[str]) -> list[TagRead]:
        """The digest of each tag, or its error. The first errors of the registry itself end the reads.

        If only a few tags fail, the cause is those tags: they are read once more, and then left out.
        """
        faults: list[BasegateError] = []

        def ask(tag: str) -> TagRead:
            return faults[-1] if _is_enough(faults) else self._ask(tag, faults)

        reads = run.executor(ask, tags)
        if not faults or _is_enough(faults) or all(map(_is_away, reads)):
            return reads
        faults = []
        again = [self._ask(tag, faults) if _is_away(one) else one for tag, one in zip(tags, reads, strict=True)]
        return [Rejected(str(one)) if _is_away(one) else one for one in again]

    def _ask(self, tag: str, faults: list[BasegateError]) -> TagRead:
        try:
            return self._services.tags.digest_of(self._rule, self._repository, tag)
        except BasegateError as error:
            if _is_away(error):
                faults.append(error)
            return error

    def _settle_alarms(self, run: JobRun, reads: dict[str, TagRead], flapping: list[Observation]) -> None:
        """Alarms about tags that are missing or flap, unusable responses, and denied access."""
        is_whole = not self._tracked.needs_listing and len(reads) == len(set(self._tracked.exact)) > 1
        if is_whole and not any(reads.values()):
            words = f"{self._source} has none of the {len(reads)} tracked tags: is it deleted, renamed or private?"
            self._settle_away(run, words)
            return
        away = {tag: one for tag, one in reads.items() if one is None or isinstance(one, Malformed | Rejected)}
        said = {tag: str(one or f"there is no {self._source}:{tag}") for tag, one in away.items()}
        found = [self._alarm(AlarmKind.TAG_AWAY, tag, words, _PLAN) for tag, words in said.items()]
        found += map(self._flaps, flapping)
        checked = {(kind, tag) for tag, one in reads.items() if not _is_away(one) for kind in _TAG_ALARMS}
        shut = next((one for one in reads.values() if isinstance(one, Misconfigured)), None)
        if shut is not None:
            found.append(self._alarm(AlarmKind.UPSTREAM_AWAY, self._repository, str(shut), _PLAN))
        elif checked:
            checked.add((AlarmKind.UPSTREAM_AWAY, self._repository))
        self._settle(run, checked, found)

    def _settle_missing(self, run: JobRun, tracked: TrackedTags, standing: list[Alarm]) -> None:
        """At the end of a round: end the alarms of tags that are not tracked any more; raise one if there is no tag."""
        sources = {alarm.about for alarm in standing if alarm.kind is AlarmKind.UPSTREAM_AWAY}
        over = sources - {(AlarmKind.UPSTREAM_AWAY, self._repository)}
        over |= {(kind, tag) for tag in tracked.missed for kind in _TAG_ALARMS}
        if over:
            self._settle(run, over)
        if tracked.is_empty:
            self._settle_away(run, f"{self._source} has no tracked tag: is it deleted, renamed or private?")

    def _settle_away(self, run: JobRun, words: str) -> None:
        """An alarm about the repository as a whole."""
        subject = (AlarmKind.UPSTREAM_AWAY, self._repository)
        self._settle(run, {subject}, [self._alarm(*subject, words, _PLAN)])

    def _flaps(self, seen: Observation) -> Alarm:
        kept, read = short(seen.digest or ""), short(seen.doubted or "")
        words = f"{self._source}:{seen.tag} keeps returning to earlier digests: {kept} stays, {read} is not believed"
        plan = "it is followed again when it stays at one digest, or has a new one"
        return self._alarm(AlarmKind.TAG_FLAPS, seen.tag, words, plan)


def _is_enough(faults: list[BasegateError]) -> bool:
    """Whether the registry itself fails: by the kind of an error, or by the number of failing tags."""
    return len(faults) > _FAILING_TAGS or any(isinstance(fault, Throttled | Misconfigured) for fault in faults)


def _is_away(answer: TagRead) -> bool:
    """Whether the registry is unavailable or denies access: a request for another tag would have the same result."""
    return isinstance(answer, BasegateError) and not isinstance(answer, Malformed | Rejected)
