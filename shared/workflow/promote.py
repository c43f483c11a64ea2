"""Promoting a passed candidate: unique tag, lock, stable tag. Every step can be repeated."""

from __future__ import annotations

import msgspec

from shared.domain.candidate import Candidate, CandidateState, TagOutcome, TagRecord
from shared.domain.errors import Rejected, Retry
from shared.domain.image import ImageRef, parse_repository
from shared.domain.policy import Gate, RegistryRule
from shared.domain.standing import Hold, Veto, veto_row
from shared.ports import CopyState
from shared.workflow.services import Services
from shared.workflow.step import Step
from shared.workflow.tracks import Stand, Tracks

COPY_ATTEMPTS = 3


class Promote:
    """The steps of a passed candidate, for one of its tags at a time."""

    def __init__(self, services: Services) -> None:
        self._services, self._tracks = services, Tracks(services)

    def copy(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """Begin the server-side copy to the unique tag; one that is there already needs none."""
        index, now, candidate = step.decision.index, self._services.clock.now(), step.record
        tag, target = candidate.tags[index], self._services.registry_rule(gate.promote.registry)
        unique = gate.promote.unique.replace("{tag}", tag.tag).replace("{run}", candidate.run_id)
        there = self._services.registry.digest_of(target, gate.promote.repository, unique)
        begun = msgspec.structs.replace(candidate, state=CandidateState.PROMOTING).with_tag(
            index, unique=unique, copy_started_at=now
        )
        if there == candidate.digest:
            return begun.with_tag(index, copied_at=now).noting(now, "copied", f"{unique} is there already")
        if there is not None:
            raise Rejected(f"{target.login_server}/{gate.promote.repository}:{unique} exists and is {there}")
        source = self._source(candidate)
        name = f"{gate.promote.repository}:{unique}"
        try:
            operation = self._services.registry.start_copy(candidate.image, source, target, name)
        except Rejected:
            if self._services.registry.digest_of(target, gate.promote.repository, unique) != candidate.digest:
                raise
            return begun.with_tag(index, copied_at=now).noting(now, "copied", f"{unique} arrived meanwhile")
        attempts = tag.copy_attempts + 1
        return begun.with_tag(index, copy_operation=operation, copy_attempts=attempts).noting(now, "copy started", name)

    def watch_copy(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """See whether the copy arrived, whatever the operation says: the tag at the registry is the truth."""
        index, now, candidate = step.decision.index, self._services.clock.now(), step.record
        tag, target = candidate.tags[index], self._services.registry_rule(gate.promote.registry)
        status = self._services.registry.copy_status(target, tag.copy_operation)
        if status.state is CopyState.RUNNING:
            return candidate
        there = self._services.registry.digest_of(target, gate.promote.repository, tag.unique)
        if there == candidate.digest:
            return candidate.with_tag(index, copied_at=now).noting(now, "copied", f"{tag.unique} is {there}")
        if there is not None:
            raise Rejected(f"{tag.unique} became {there}, not the digest that was examined ({candidate.digest})")
        problem = f"the copy to {tag.unique} failed: {status.message or 'the tag is not there'}"
        if tag.copy_attempts >= COPY_ATTEMPTS:
            raise Rejected(problem)
        step.save(
            candidate.with_tag(index, copy_started_at=None, copy_operation="").noting(now, "copy failed", problem)
        )
        raise Retry(problem, delay_seconds=10.0)

    def lock(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """Lock the unique tag for good, and its manifest against deletes only: a rollback must still tag it."""
        index, now, candidate = step.decision.index, self._services.clock.now(), step.record
        target, unique = self._services.registry_rule(gate.promote.registry), candidate.tags[index].unique
        self._services.registry.lock(target, gate.promote.repository, unique, candidate.digest)
        return candidate.with_tag(index, locked_at=now).noting(now, "locked", unique)

    def move_stable(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """Point the stable tag at the digest: never backwards, and never past a hold.

        1. A track that a newer push stands on is left alone.
        2. A track that an operator holds keeps the candidate waiting until the hold is lifted. That it waits is
           saved before the hold is read again: whoever lifts it meanwhile sees one or the other.
        3. The tag is moved and read back. Once its track is claimed, the candidate is saved as it is: if someone
           canceled it before, that is a conflict, and who would cancel it later sees the claim.
        """
        index, now, candidate = step.decision.index, self._services.clock.now(), step.record
        tag, stored = candidate.tags[index], self._tracks.load(gate, candidate.tags[index].tag)
        track = stored.record
        if track.pushed_at is not None and track.pushed_at > tag.pushed_at:  # 1
            reason = f"{tag.tag} stands on {track.digest}, pushed later"
            return candidate.with_tag(index, outcome=TagOutcome.SUPERSEDED).noting(now, "superseded", reason)
        hold = track.hold
        if hold is not None and hold.stops(tag.pushed_at) and track.digest != candidate.digest:  # 2
            reason = f"{tag.tag} is held by {hold.actor}: {hold.reason}"
            waiting = step.save(candidate.with_tag(index, held=True).noting(now, "held", reason))
            lifted = self._tracks.load(gate, tag.tag).record.hold != hold
            return waiting.with_tag(index, held=False) if lifted else waiting
        remaining = self._remaining(hold, tag)
        moved = self._tracks.move(
            gate, stored, _stand(candidate, index), lambda: step.save(candidate), hold=remaining
        )  # 3
        reason = f"{tag.tag} is {candidate.digest}, verified"
        return candidate.with_tag(index, moved_at=moved.moved_at).noting(now, "stable tag moved", reason)

    def record_task_promotion(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """Take down what the gate's own task pushed, and whether it is what was examined."""
        index, now, candidate = step.decision.index, self._services.clock.now(), step.record
        tag, rule = candidate.tags[index], gate.promote
        target = self._services.registry_rule(rule.registry)
        unique = rule.unique.replace("{tag}", tag.tag).replace("{run}", candidate.run_id)
        pushed = {name: self._services.registry.digest_of(target, rule.repository, name) for name in (unique, tag.tag)}
        differing = {name: digest for name, digest in pushed.items() if digest != candidate.digest}
        track = self._tracks.load(gate, tag.tag)
        newest = track.record.pushed_at
        if list(differing) == [tag.tag] and newest is not None and newest > tag.pushed_at:
            reason = f"{tag.tag} stands on {track.record.digest}, pushed later"
            return candidate.with_tag(index, outcome=TagOutcome.SUPERSEDED).noting(now, "superseded", reason)
        if differing:
            found = ", ".join(f"{name} is {digest or 'missing'}" for name, digest in differing.items())
            raise Rejected(f"the task promoted other bytes than it examined ({candidate.digest}): {found}")
        done = candidate.with_tag(index, unique=unique, copied_at=now)
        settled = self._tracks.settle(track, _stand(done, index))
        done = msgspec.structs.replace(done, state=CandidateState.PROMOTING).with_tag(index, moved_at=settled.moved_at)
        return done.noting(now, "promoted by the task", f"{unique} and {tag.tag} are the examined digest")

    def recheck_source(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """Ask the gate's source whether a repeated push still stands; if so, the digest is the newest again.

        It may be another source than the one that the candidate came from: the rule may have changed since.
        """
        index, now, candidate = step.decision.index, self._services.clock.now(), step.record
        tag, source = candidate.tags[index], self._services.registry_rule(gate.source.registry)
        again = tag.resighted_at
        assert again is not None  # decide rechecks nothing else
        if self._services.tags.digest_of(source, gate.source.repository, tag.tag) != candidate.digest:
            reason = f"{tag.tag} is another digest at the source by now"
            return candidate.with_tag(index, resighted_at=None).noting(now, "repeated push ignored", reason)
        candidate = msgspec.structs.replace(
            candidate,
            source_registry=source.name,
            repository=parse_repository(gate.source.repository),
            login_server=source.login_server,
        )
        track = self._tracks.load(gate, tag.tag)
        settled = tag.outcome is not None or not candidate.finished
        if track.record.digest == candidate.digest and settled:
            self._tracks.save(track, msgspec.structs.replace(track.record, pushed_at=again))
            return candidate.with_tag(index, resighted_at=None, pushed_at=again)
        reopened = candidate.with_tag(
            index,
            resighted_at=None,
            pushed_at=again,
            copy_attempts=0,
            moved_at=None,
            rolled_out_at=None,
            outcome=None,
            held=False,
        )
        reopened = msgspec.structs.replace(reopened, state=CandidateState.PROMOTING, announced=False)
        return reopened.noting(now, "pushed again", f"{tag.tag} came back to this digest at the source")

    def _source(self, candidate: Candidate) -> RegistryRule:
        """The registry that a candidate came from, whatever the rules call it by now.

        Raises:
            Rejected: they do not name it any more.
        """
        policy = self._services.policy
        source = policy.registries.get(candidate.source_registry)
        if source is None or source.login_server != candidate.login_server:
            source = policy.registry_at(candidate.login_server)
        if source is None:
            raise Rejected(f"{candidate.login_server} is not in the rules any more: {candidate.image} is not copied")
        return source

    def promoted_image(self, candidate: Candidate, gate: Gate) -> ImageRef:
        """The image as it stands in the target registry."""
        target = self._services.registry_rule(gate.promote.registry)
        return msgspec.structs.replace(
            candidate.image, login_server=target.login_server, repository=gate.promote.repository
        )

    def refuse_vetoed(self, candidate: Candidate) -> None:
        """End a candidate whose digest an operator has banned.

        Raises:
            Rejected: names who banned it and why.
        """
        stored = self._services.ledger.load(Veto, candidate.gate, veto_row(candidate.digest))
        if stored is not None and stored.record.stands:
            raise Rejected(stored.record.words)

    @staticmethod
    def _remaining(hold: Hold | None, tag: TagRecord) -> Hold | None:
        """The hold after a move: one that ends with a newer digest has ended."""
        return hold if hold is not None and hold.stops(tag.pushed_at) else None


def _stand(candidate: Candidate, index: int) -> Stand:
    tag = candidate.tags[index]
    return Stand(digest=candidate.digest, pushed_at=tag.pushed_at, candidate=candidate.row, unique=tag.unique)
