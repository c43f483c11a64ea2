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
from shared.sweep.job import JobRun


class LeftOvers:
    """The unused unique tags of one gate."""

    def __init__(self, services: Services, gate: Gate) -> None:
        self._services, self._gate = services, gate
        self._target = services.registry_rule(gate.promote.registry)
        self._repository = f"{self._target.login_server}/{gate.promote.repository}"

    def remove(self, run: JobRun, after: str) -> Generator[str, None, tuple[str, str] | None]:
        """Remove those behind a row that the rule selects; yields each, and returns words and plan of an alarm, if any.

        A tag is unlocked, then deleted, then its record: after a crash in between the next round repeats that. If one
        removal is refused, the others most likely are, too: the first one ends the round.
        """
        since = self._gate.promote.kept_since(self._services.clock.now())
        in_use: set[str] | None = None
        for stored in self._services.ledger.between(LeftOver, self._gate.name, after, ""):
            if stored.record.row <= after:
                continue
            in_use = self._in_use()[0] if in_use is None else in_use
            try:
                if stored.record.unique in in_use:
                    self._forget(run, stored)
                elif since is not None and stored.record.since < since:
                    self._remove(run, stored)
                elif stored.record.removing and not run.dry_run:  # a removal died, and the rule has changed since
                    self._unmark(stored)
            except (Misconfigured, Rejected) as rejection:
                words = f"{self._repository}:{stored.record.unique}, which is unused, cannot be removed: {rejection}"
                remedy = rejection.remedy or "see to it, or take `keep` out of the gate's rule"
                return words, f"the next round tries again; {remedy}"
            yield stored.record.row
        return None

    def _remove(self, run: JobRun, stored: Stored[LeftOver]) -> None:
        """Remove one, unless it is gone, has another digest, or is used again: then only its record is deleted.

        The record is marked before it is read what is in use, and a promotion saves which tag it uses before it reads
        the mark: one of the two sees the other. A promotion of the same digest under another tag is seen then, too. A
        manifest is unlocked with the last of its tags.
        """
        left, repository, registry = stored.record, self._gate.promote.repository, self._services.registry
        if registry.digest_of(self._target, repository, left.unique) == left.digest:
            run.note("remove a unique tag", f"{self._repository}:{left.unique}")
            if not run.dry_run:
                try:
                    stored = self._services.ledger.save(stored, replace(left, removing=True))
                except Conflict:
                    return  # a promotion uses it again, or another worker removes it
                tags, digests = self._in_use()
                if left.unique not in tags:
                    self._delete(stored, None if left.digest in digests else left.digest)
        self._forget(run, stored)

    def _delete(self, stored: Stored[LeftOver], manifest: Digest | None) -> None:
        """Unlock the tag, and a manifest, and delete the tag. If that is refused, promotions may use the tag again.

        With the last tag of a digest, the tags of what is attached to it go: a registry deletes the referrers of a
        manifest together with it, but knows nothing of tags that are named after it. They go before the tag, which a
        repeated removal finds, and after the unlocking: where that is refused, the image stays as it is.
        Source: https://learn.microsoft.com/azure/container-registry/container-registry-manage-artifact
        """
        unique, repository, registry = stored.record.unique, self._gate.promote.repository, self._services.registry
        try:
            registry.unlock(self._target, repository, unique, manifest)
            for tag in attachment_tags(manifest) if manifest else ():
                registry.remove_tag(self._target, repository, tag)
            registry.remove_tag(self._target, repository, unique)
        except (Misconfigured, Rejected):
            self._unmark(stored)
            raise

    def _unmark(self, stored: Stored[LeftOver]) -> None:
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
