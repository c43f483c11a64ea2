"""What the decisions of operators leave in the ledger, for tests of the core that need no operation."""

from __future__ import annotations

import msgspec

from shared.domain.candidate import Candidate, CandidateState, FoundBy, Verdict
from shared.domain.image import Digest, Tag
from shared.domain.observation import Observation
from shared.domain.policy import Gate
from shared.domain.stable_tag import Hold, HoldUntil, Veto
from shared.intake.observe import Observed, Observer, Trigger
from shared.ports import Change, Stored
from shared.promotion.stable_tags import StableTags
from shared.promotion.vetoes import Vetoes
from shared.reconcile.candidates import CandidateController
from shared.records.outbox import Outbox
from tests.fakes import World

TAG = Tag("15-alpine")


def gate_of(world: World) -> Gate:
    return world.policy.gates["node"]


def answer(world: World, content: Digest, *, approved: bool) -> None:
    """A person approves or rejects what waits for approval."""
    stored = stored_candidate(world, content)
    index = next(i for i, check in enumerate(stored.record.checks) if check.kind == "approval")
    verdict = Verdict.PASSED if approved else Verdict.FAILED
    reason = f"{'approved' if approved else 'rejected'} by ada: because"
    answered = stored.record.with_check(index, verdict=verdict, reason=reason, finished_at=world.clock.now())
    _put(world, stored, msgspec.structs.replace(answered, state=CandidateState.EXAMINING))


def cancel(world: World, content: Digest) -> None:
    """An operator cancels an examination."""
    stored = stored_candidate(world, content)
    canceled = msgspec.structs.replace(stored.record, state=CandidateState.CANCELED, reason="ada: because")
    _put(world, stored, canceled.noting(world.clock.now(), "canceled", "ada: because"))


def hold(world: World, tag: Tag = TAG, until: HoldUntil = HoldUntil.LIFTED) -> None:
    stored = StableTags(world.services).load(gate_of(world), tag)
    sequence = world.observation(tag).sequence
    held = Hold(actor="ada", reason="because", at=world.clock.now(), until=until, sequence=sequence)
    world.ledger.save(stored, msgspec.structs.replace(stored.record, hold=held))


def lift_hold(world: World, tag: Tag = TAG) -> None:
    stored = StableTags(world.services).load(gate_of(world), tag)
    world.ledger.save(stored, msgspec.structs.replace(stored.record, hold=None))
    promote_again(world, tag)


def veto(world: World, content: Digest) -> None:
    target = Vetoes(world.services).target(gate_of(world))
    banned = Veto(gate="node", target=target, digest=content, actor="ada", reason="a hole in it", at=world.clock.now())
    assert world.ledger.insert(banned)


def lift_veto(world: World, content: Digest, tag: Tag = TAG) -> None:
    stored = Vetoes(world.services).load(gate_of(world), content)
    assert stored
    world.ledger.save(stored, msgspec.structs.replace(stored.record, lifted_at=world.clock.now(), lifted_by="ada"))
    promote_again(world, tag)


def promote_again(world: World, tag: Tag = TAG) -> None:
    for item in Observer(world.services).promote_again(gate_of(world), tag, "ada: because"):
        world.queue.send(item, 0)


def rerun(world: World, content: Digest) -> Candidate:
    """An operator asks for another attempt."""
    latest = world.candidate(content)
    attempt, items = Observer(world.services).attempt_again(gate_of(world), latest, "ada: because")
    for item in items:
        world.queue.send(item, 0)
    return attempt


def sweep(world: World, tag: Tag = TAG) -> Observed:
    """What the sweep does for one tag: read it, and queue what that leads to."""
    observed = Observer(world.services).observe(gate_of(world), tag, Trigger(FoundBy.SWEEP))
    for item in observed.items:
        world.queue.send(item, 0)
    return observed


def stored_candidate(world: World, content: Digest) -> Stored[Candidate]:
    stored = world.ledger.load(Candidate, "node", world.candidate(content).row)
    assert stored
    return stored


def stored_observation(world: World, tag: Tag = TAG) -> Stored[Observation]:
    stored = world.ledger.load(Observation, "node", tag)
    assert stored
    return stored


def _put(world: World, stored: Stored[Candidate], record: Candidate) -> None:
    """Save it with what its end announces, as an operation does."""
    said = CandidateController(world.services).outcome
    saved, written = Outbox(world.services).put_for_change(stored.record, record, said)
    world.ledger.commit(Change(msgspec.structs.replace(saved, next_step_at=None), stored), *written)
    world.queue.send(record.work_item, 0)
