"""Promoting a passed candidate: unique tag, lock, stable tag. Every step can be repeated."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from shared.domain.candidate import Candidate, CandidateState, TagOutcome, Track
from shared.domain.errors import Busy, Conflict, Rejected, Retry
from shared.domain.image import Digest, ImageRef
from shared.domain.policy import Gate, RegistryRule
from shared.ports import CopyState, Stored
from shared.workflow.services import Services
from shared.workflow.step import Step

COPY_ATTEMPTS = 3
MOVE_CLAIM_SECONDS = 120.0
"""How long a mover may hold a track: longer than any step, so that only a dead one loses it."""


class Promote:
    """The steps of a passed candidate, for one of its tags at a time."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def copy(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """Begin the server-side copy to the unique tag; one that is there already needs none."""
        index, now, candidate = step.decision.index, self._services.clock.now(), step.record
        tag, target = candidate.tags[index], self._services.registry_rule(gate.promote.registry)
        unique = gate.promote.unique.replace("{tag}", tag.tag).replace("{run}", candidate.run_id)
        there = self._services.registry.digest_of(target, gate.promote.repository, unique)
        if there == candidate.digest:
            return candidate.with_tag(index, unique=unique, copy_started_at=now, copied_at=now)
        if there is not None:
            raise Rejected(f"{target.login_server}/{gate.promote.repository}:{unique} exists and is {there}")
        source = self._services.registry_rule(candidate.source_registry)
        name = f"{gate.promote.repository}:{unique}"
        operation = self._services.registry.start_copy(candidate.image, source, target, name)
        begun = candidate.with_tag(
            index,
            unique=unique,
            copy_operation=operation,
            copy_started_at=now,
            copy_attempts=tag.copy_attempts + 1,
        )
        return msgspec.structs.replace(begun, state=CandidateState.PROMOTING).noting(now, "copy started", name)

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
        """Point the stable tag at the digest, never backwards.

        1. A track that a newer push stands on is left alone.
        2. Claim the track: Azure has no conditional tag move, so movers take turns.
        3. Move the tag, and read it back.
        4. Record on the track what it stands on now, and let it go. Who lost the claim meanwhile puts back
           what the track says.
        """
        index, now, candidate = step.decision.index, self._services.clock.now(), step.record
        tag, target = candidate.tags[index], self._services.registry_rule(gate.promote.registry)
        track = self._track(gate, candidate, index)
        newest = track.record.pushed_at
        if newest is not None and newest > tag.pushed_at:  # 1
            reason = f"{tag.tag} stands on {track.record.digest}, pushed later"
            return candidate.with_tag(index, outcome=TagOutcome.SUPERSEDED).noting(now, "superseded", reason)
        track = self._claim(track, candidate)  # 2
        self._point(target, gate.promote.repository, tag.tag, candidate.digest)  # 3
        self._settle(track, candidate, index, gate)  # 4
        reason = f"{tag.tag} is {candidate.digest}, verified"
        return candidate.with_tag(index, moved_at=now).noting(now, "stable tag moved", reason)

    def record_task_promotion(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """Take down what the gate's own task pushed, and whether it is what was examined."""
        index, now, candidate = step.decision.index, self._services.clock.now(), step.record
        tag, rule = candidate.tags[index], gate.promote
        target = self._services.registry_rule(rule.registry)
        unique = rule.unique.replace("{tag}", tag.tag).replace("{run}", candidate.run_id)
        pushed = {name: self._services.registry.digest_of(target, rule.repository, name) for name in (unique, tag.tag)}
        differing = {name: digest for name, digest in pushed.items() if digest != candidate.digest}
        if differing:
            found = ", ".join(f"{name} is {digest or 'missing'}" for name, digest in differing.items())
            raise Rejected(f"the task promoted other bytes than it examined ({candidate.digest}): {found}")
        done = candidate.with_tag(index, unique=unique, copied_at=now, moved_at=now)
        self._settle(self._track(gate, candidate, index), done, index, gate)
        return done.noting(now, "promoted by the task", f"{unique} and {tag.tag} are the examined digest")

    def recheck_source(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """Ask the source whether a repeated push still stands; if so, the digest is the newest again."""
        index, now, candidate = step.decision.index, self._services.clock.now(), step.record
        tag, source = candidate.tags[index], self._services.registry_rule(candidate.source_registry)
        again = tag.resighted_at
        assert again is not None  # decide rechecks nothing else
        if self._services.registry.digest_of(source, candidate.repository, tag.tag) != candidate.digest:
            reason = f"{tag.tag} is another digest at the source by now"
            return candidate.with_tag(index, resighted_at=None).noting(now, "repeated push ignored", reason)
        track = self._track(gate, candidate, index)
        if track.record.digest == candidate.digest:
            self._save_track(track, msgspec.structs.replace(track.record, pushed_at=again))
            return candidate.with_tag(index, resighted_at=None, pushed_at=again)
        reopened = candidate.with_tag(
            index,
            resighted_at=None,
            pushed_at=again,
            copy_attempts=0,
            moved_at=None,
            rolled_out_at=None,
            outcome=None,
        )
        reopened = msgspec.structs.replace(reopened, state=CandidateState.PROMOTING, announced=False)
        return reopened.noting(now, "pushed again", f"{tag.tag} came back to this digest at the source")

    def promoted_image(self, candidate: Candidate, gate: Gate) -> ImageRef:
        """The image as it stands in the target registry."""
        target = self._services.registry_rule(gate.promote.registry)
        return msgspec.structs.replace(
            candidate.image, login_server=target.login_server, repository=gate.promote.repository
        )

    def _track(self, gate: Gate, candidate: Candidate, index: int) -> Stored[Track]:
        tag, ledger = candidate.tags[index].tag, self._services.ledger
        stored = ledger.load(Track, gate.name, tag) or ledger.insert(Track(gate=gate.name, tag=tag))
        if stored is None:
            raise Busy(f"another worker is making the track of {tag}", delay_seconds=1.0)
        return stored

    def _claim(self, track: Stored[Track], candidate: Candidate) -> Stored[Track]:
        now, held = self._services.clock.now(), track.record
        other = held.moving not in ("", candidate.row)
        if other and held.moving_until is not None and held.moving_until > now:
            raise Busy(f"candidate {held.moving} is moving {held.tag}", delay_seconds=2.0)
        until = now + timedelta(seconds=MOVE_CLAIM_SECONDS)
        claimed = msgspec.structs.replace(held, moving=candidate.row, moving_until=until)
        return self._save_track(track, claimed)

    def _settle(self, track: Stored[Track], candidate: Candidate, index: int, gate: Gate) -> None:
        tag, now = candidate.tags[index], self._services.clock.now()
        target, repository = self._services.registry_rule(gate.promote.registry), gate.promote.repository
        settled = msgspec.structs.replace(
            track.record,
            digest=candidate.digest,
            pushed_at=tag.pushed_at,
            candidate=candidate.row,
            unique=tag.unique,
            moved_at=now,
            moving="",
            moving_until=None,
        )
        try:
            self._services.ledger.save(track, settled)
        except Conflict:
            current = self._services.ledger.load(Track, track.record.gate, tag.tag)
            if current is not None and current.record.digest not in (None, candidate.digest):
                self._services.registry.point(target, repository, tag.tag, current.record.digest)
            raise Busy(f"another candidate took the track of {tag.tag} over", delay_seconds=1.0) from None

    def _save_track(self, track: Stored[Track], changed: Track) -> Stored[Track]:
        """Save a track. A conflict here is about the track, not the candidate, whose look must not end by it."""
        try:
            return self._services.ledger.save(track, changed)
        except Conflict:
            raise Busy(f"another candidate changed the track of {changed.tag}", delay_seconds=1.0) from None

    def _point(self, target: RegistryRule, repository: str, tag: str, digest: Digest) -> None:
        registry = self._services.registry
        if registry.digest_of(target, repository, tag) != digest:
            registry.point(target, repository, tag, digest)
        there = registry.digest_of(target, repository, tag)
        if there != digest:
            raise Retry(f"{target.login_server}/{repository}:{tag} was moved to {digest} and reads {there}")
