"""Unused unique tags: listed while they exist, and removed where the gate's rule says so."""

from collections.abc import Generator, Iterator
from contextlib import suppress

from msgspec.structs import replace

from shared.domain.errors import Conflict, Misconfigured, Rejected
from shared.domain.image import Digest
from shared.domain.policy import Gate
from shared.domain.promotion import Promotion
from shared.domain.retention import LeftOver
from shared.domain.stable_tag import StableTag
from shared.ports import Services, Stored, attachment_tags, removal
from shared.sweep.job import JobRun, in_batches

_AT_ONCE = 25
"""How many are marked at once: what is in use is read once for all of them."""


class LeftOvers:
    """The unused unique tags of one gate."""

    def __init__(self, services: Services, gate: Gate) -> None:
        self._services, self._gate = services, gate
        self._target = services.registry_rule(gate.promote.registry)
        self._repository = f"{self._target.login_server}/{gate.promote.repository}"

    def remove(self, run: JobRun, after: str) -> Generator[str, None, tuple[str, str] | None]:
        """Remove those behind a row that the rule selects, some at a time; yields the last row of each batch.

        Returns words and plan of an alarm, if any.
        A tag is unlocked, then deleted, then its record: after a crash in between the next round repeats that. If one
        removal is refused, the others most likely are, too: the first one ends the round.
        """
        in_use: set[str] | None = None
        listed = self._services.ledger.between(LeftOver, self._gate.name, after, "")
        for batch in in_batches((one for one in listed if one.record.row > after), _AT_ONCE):
            in_use = self._in_use()[0] if in_use is None else in_use
            spare = [stored for stored in batch if not self._is_kept(run, stored, in_use)]
            if refused := self._remove_all(run, spare):
                return refused
            yield batch[-1].record.row
        return None

    def _is_kept(self, run: JobRun, stored: Stored[LeftOver], in_use: set[str]) -> bool:
        """Whether the rule does not select a unique tag; the record of one that is used again is deleted."""
        since = self._gate.promote.kept_since(self._services.clock.now())
        if stored.record.unique in in_use:
            self._forget(run, stored)
        elif since is not None and stored.record.since < since:
            return False
        elif stored.record.removing and not run.dry_run:  # a removal died, and the rule has changed since
            self._unmark(stored)
        return True

    def _remove_all(self, run: JobRun, spare: list[Stored[LeftOver]]) -> tuple[str, str] | None:
        """Remove them, unless one is gone, has another digest, or is used again: then only its record is deleted.

        All are marked before it is read what is in use, and a promotion saves which tag it uses before it reads the
        mark: one of the two sees the other. A promotion of the same digest under another tag is seen then, too. A
        manifest is unlocked with the last of its tags.
        """
        marked = [one for stored in spare if (one := self._marked(run, stored)) is not None]
        tags, digests = self._in_use() if marked else (set[str](), set[str]())
        for place, stored in enumerate(marked):
            left = stored.record
            try:
                if left.unique not in tags:
                    self._delete(left, None if left.digest in digests else left.digest)
            except (Misconfigured, Rejected) as rejection:
                for one in marked[place:]:
                    self._unmark(one)
                words = f"{self._repository}:{left.unique}, which is unused, cannot be removed: {rejection}"
                remedy = rejection.remedy or "see to it, or take `keep` out of the gate's rule"
                return words, f"the next round tries again; {remedy}"
            self._forget(run, stored)
        return None

    def _marked(self, run: JobRun, stored: Stored[LeftOver]) -> Stored[LeftOver] | None:
        """One that is to be removed now, with its mark; None if it is not."""
        left, repository = stored.record, self._gate.promote.repository
        if self._services.registry.digest_of(self._target, repository, left.unique) != left.digest:
            self._forget(run, stored)
            return None
        run.note("remove a unique tag", f"{self._repository}:{left.unique}")
        if run.dry_run:
            return None
        try:
            return self._services.ledger.save(stored, replace(left, removing=True))
        except Conflict:
            return None  # a promotion uses it again, or another worker removes it

    def _delete(self, left: LeftOver, manifest: Digest | None) -> None:
        """Unlock the tag, and a manifest, and delete the tag.

        With the last tag of a digest, the tags of what is attached to it go: a registry deletes the referrers of a
        manifest together with it, but knows nothing of tags that are named after it. They go before the tag, which a
        repeated removal finds, and after the unlocking: where that is refused, the image stays as it is.
        Source: https://learn.microsoft.com/azure/container-registry/container-registry-manage-artifact

        Raises:
            Misconfigured, Rejected: it is refused.
        """
        repository, registry = self._gate.promote.repository, self._services.registry
        registry.unlock(self._target, repository, left.unique, manifest)
        for tag in attachment_tags(manifest) if manifest else ():
            registry.remove_tag(self._target, repository, tag)
        registry.remove_tag(self._target, repository, left.unique)

    def _unmark(self, stored: Stored[LeftOver]) -> None:
        """Take the mark away: promotions may use the tag again."""
        with suppress(Conflict):  # another worker removes it
            self._services.ledger.save(stored, replace(stored.record, removing=False))

    def _forget(self, run: JobRun, stored: Stored[LeftOver]) -> None:
        if not run.dry_run:
            with suppress(Conflict):  # another worker has removed it
                self._services.ledger.commit(removal(stored))

    def _in_use(self) -> tuple[set[str], set[str]]:
        """The tags and digests in the target repository that the records of any gate refer to."""
        tags, digests = set[str](), set[str]()
        for gate in self._services.policy.gates_into(self._target, self._gate.promote.repository):
            for record in self._records(gate.name):
                tags |= {record.unique, record.tag}
                digests |= {record.digest or ""} if record.unique or isinstance(record, StableTag) else set()
        return tags, digests

    def _records(self, gate: str) -> Iterator[Promotion | StableTag]:
        for promotion in self._services.ledger.list(Promotion, gate):
            yield promotion.record
        for stable in self._services.ledger.list(StableTag, gate):
            yield stable.record
