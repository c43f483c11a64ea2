"""Examine, rerun, cancel."""

from __future__ import annotations

import msgspec

from shared.domain.candidate import Candidate, CandidateState, FoundBy, TagRecord, Verdict
from shared.domain.errors import Malformed, NotThere, Refused
from shared.domain.image import Digest, parse_tag
from shared.domain.policy import ApprovalCheck, Gate, TaskCheck
from shared.domain.tag_rule import tags_in_words
from shared.domain.track import Track
from shared.ports import Stored
from shared.workflow.examine import new_checks
from shared.workflow.find import Find, candidate_id
from shared.workflow.plan import Effect, Plan, Who
from shared.workflow.services import Services
from shared.workflow.writing import insert, save


class CandidateVerbs:
    """What an operator does with candidates."""

    def __init__(self, services: Services) -> None:
        self._services, self._find = services, Find(services)

    def examine(self, gate_name: str, tag_name: object, who: Who) -> Plan:
        """Examine what a tag of the source is now.

        Raises:
            Malformed, NotThere: the tag is none, none of the gate's, or not at the source.
            Refused: that digest is being examined, or is vetoed.
        """
        gate, tag = self._find.gate(gate_name), parse_tag(tag_name)
        if not gate.takes(tag):
            raise Malformed("tag", f"gate {gate.name} takes no tag {tag}: it takes {tags_in_words(gate.source)}")
        source = self._services.registry_rule(gate.source.registry)
        digest = self._services.tags.digest_of(source, gate.source.repository, tag)
        if digest is None:
            raise NotThere(f"there is no {source.login_server}/{gate.source.repository}:{tag}")
        latest = self._find.latest(gate, digest)
        asked = TagRecord(tag=tag, pushed_at=self._services.clock.now())
        if latest is None:
            return self._begin(gate, digest, 1, (asked,), who)
        known = latest.record.tag_index(tag) is not None
        return self._again(gate, latest, who, () if known else (asked,))

    def rerun(self, identifier: str, who: Who) -> Plan:
        """Examine a digest again, as a new attempt. Its place among the pushes stays what it was.

        Raises:
            Refused: an attempt goes on, or the digest is vetoed.
        """
        stored = self._find.candidate(identifier)
        gate = self._find.gate(stored.record.gate)
        latest = self._find.latest(gate, stored.record.digest)
        return self._again(gate, latest or stored, who)

    def cancel(self, identifier: str, who: Who) -> Plan:
        """Stop a candidate and the run that examines it.

        Raises:
            Refused: it is finished, or a stable tag stands on it or is being moved to it.
        """
        stored = self._find.candidate(identifier)
        record = stored.record
        if record.finished and record.state is not CandidateState.HELD:
            raise Refused(f"{identifier} is {record.state} already")
        if any(tag.moved_at is not None or self._reached(record, tag) for tag in record.tags):
            raise Refused(f"a stable tag stands on {identifier} already, or moves to it: roll back instead")
        return Plan((Effect("cancel", str(record.image)),), lambda: self._cancel(stored, who))

    def _reached(self, record: Candidate, tag: TagRecord) -> bool:
        """Whether a stable tag stands on a candidate, is claimed for it, or was moved to it by a move that failed.

        Its mover claims the tag before it saves the candidate, and moves the tag after that. So a candidate that was
        read before and is saved unchanged since, as canceling does, is one that no tag moves to.
        """
        gate, stored = self._services.gate(record.gate), self._services.ledger.load(Track, record.gate, tag.tag)
        if stored is not None and record.row in (stored.record.moving, stored.record.candidate):
            return True
        known = stored.record.digest if stored is not None else None
        if gate is None or tag.copied_at is None or known == record.digest:
            return False
        target = self._services.registry_rule(gate.promote.registry)
        return self._services.registry.digest_of(target, gate.promote.repository, tag.tag) == record.digest

    def approve(self, identifier: str, who: Who) -> Plan:
        """Approve a candidate that waits for it.

        Raises:
            Refused: it does not wait for approval, or the gate wants another person than the one who asked.
        """
        return self._answer(identifier, Verdict.PASSED, "approved", who)

    def reject(self, identifier: str, who: Who) -> Plan:
        """Reject a candidate that waits for approval."""
        return self._answer(identifier, Verdict.FAILED, "rejected", who)

    def _answer(self, identifier: str, verdict: Verdict, word: str, who: Who) -> Plan:
        stored = self._find.candidate(identifier)
        record, gate = stored.record, self._find.gate(stored.record.gate)
        index = next((i for i, check in enumerate(record.checks) if check.verdict is not Verdict.PASSED), None)
        rule = gate.checks[index] if index is not None and record.fingerprint == gate.fingerprint else None
        if index is None or not isinstance(rule, ApprovalCheck) or record.finished or not record.checks[index].run_id:
            raise Refused(f"{identifier} does not wait for approval: it is {record.state}")
        if rule.two_persons and verdict is Verdict.PASSED and record.requested_by == who.actor:
            raise Refused(f"{who.actor} asked for this run: gate {gate.name} wants another person to approve it")
        now, reason = self._services.clock.now(), f"{word} by {who}"
        answered = record.with_check(index, verdict=verdict, reason=reason, finished_at=now).noting(now, word, str(who))
        return Plan((Effect(word, str(record.image)),), lambda: self._save(stored, answered))

    def _save(self, stored: Stored[Candidate], changed: Candidate) -> str:
        save(self._services, stored, changed)
        return f"candidates/{candidate_id(changed)}"

    def _again(self, gate: Gate, latest: Stored[Candidate], who: Who, more_tags: tuple[TagRecord, ...] = ()) -> Plan:
        record = latest.record
        if not record.finished:
            raise Refused(f"{candidate_id(record)} is {record.state}: wait for it, or cancel it")
        tags = tuple(TagRecord(tag=tag.tag, pushed_at=tag.pushed_at) for tag in record.tags)
        return self._begin(gate, record.digest, record.attempt + 1, (*tags, *more_tags), who)

    def _begin(self, gate: Gate, digest: Digest, attempt: int, tags: tuple[TagRecord, ...], who: Who) -> Plan:
        veto = self._find.veto(gate, digest)
        if veto is not None:
            raise Refused(f"{digest} is vetoed by {veto.actor}: {veto.reason}. Lift the veto first")
        source, now = self._services.registry_rule(gate.source.registry), self._services.clock.now()
        candidate = Candidate(
            gate=gate.name,
            digest=digest,
            attempt=attempt,
            source_registry=source.name,
            repository=gate.source.repository,  # type: ignore[arg-type]  # checked with the rules
            login_server=source.login_server,
            fingerprint=gate.fingerprint,
            tags=tags,
            checks=new_checks(gate),
            requested_by=who.actor,
            found_by=FoundBy.OPERATOR,
            created_at=now,
        ).noting(now, "admitted", f"attempt {attempt}, asked for by {who}")
        names = ", ".join(tag.tag for tag in tags)
        effects = (Effect("examine", str(candidate.image)), Effect("promote if it passes", names))
        return Plan(effects, lambda: self._insert(candidate))

    def _insert(self, candidate: Candidate) -> str:
        if not insert(self._services, candidate):
            raise Refused(f"attempt {candidate.attempt} at {candidate.digest} was begun by someone else just now")
        return f"candidates/{candidate_id(candidate)}"

    def _cancel(self, stored: Stored[Candidate], who: Who) -> str:
        now, record = self._services.clock.now(), stored.record
        canceled = msgspec.structs.replace(
            record, state=CandidateState.CANCELED, reason=f"canceled by {who}", announced=False
        ).noting(now, "canceled", str(who))
        path = self._save(stored, canceled)
        gate = self._services.gate(record.gate)
        for check, rule in zip(record.checks, gate.checks if gate else (), strict=False):
            if isinstance(rule, TaskCheck) and check.run_id and check.verdict is None:
                self._services.tasks.cancel(self._services.registry_rule(rule.registry), check.run_id)
        return path
