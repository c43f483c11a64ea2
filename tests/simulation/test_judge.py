"""The judge finds what it is there for: each of these faults, planted in the core, is found within a few schedules."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from shared.attestation.envelope import payload_of
from shared.domain.candidate import Candidate, CandidateState, Verdict
from shared.domain.errors import Retry
from shared.domain.observation import Observation
from shared.domain.stable_tag import Hold
from shared.intake.observe import Observer
from shared.operations.gates import GateOperations
from shared.ports import Removal
from shared.promotion.decision_records import DecisionRecords
from shared.promotion.referrers import Copied, UpstreamReferrers
from shared.promotion.stable_tags import StableTags
from shared.promotion.vetoes import Vetoes
from shared.reconcile import candidates
from shared.reconcile.candidates import CandidateController
from shared.reconcile.engine import Reconciler
from shared.reconcile.listeners import ListenerController
from shared.reconcile.promotions import PromotionController
from shared.records.outbox import Outbox
from shared.sweep.jobs import purge
from shared.sweep.jobs.at_risk import PromotedImages
from shared.sweep.jobs.left_over import LeftOvers
from shared.sweep.jobs.purge import GatePurgeJob
from shared.sweep.jobs.released import ReleasedJob
from shared.sweep.jobs.rescan import RescanJob
from tests.simulation.schedule import Schedule

SCHEDULES = 400

Plant = Callable[[pytest.MonkeyPatch], None]


def believe_events(monkeypatch: pytest.MonkeyPatch) -> None:
    record = Observer.record

    def believing(self: Any, gate: Any, tag: Any, stored: Any, digest: Any, trigger: Any) -> Any:
        return record(self, gate, tag, stored, trigger.expected or digest, trigger)

    monkeypatch.setattr(Observer, "record", believing)


def forget_vetoes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Vetoes, "active", lambda self, gate, digest: None)


def ask_for_vetoes_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only before the claim: a veto that is written between the two is not seen."""
    active, seen = Vetoes.active, dict[tuple[int, str], Any]()

    def once(self: Any, gate: Any, digest: str) -> Any:
        key = (id(self), digest)
        if key not in seen:
            seen[key] = active(self, gate, digest)
        return seen[key]

    monkeypatch.setattr(Vetoes, "active", once)


def build_on_banned_bases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Vetoes, "against_base", lambda self, base: "")


def ignore_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hold, "stops", lambda self, sequence, *, returning: False)


def go_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PromotionController, "_blocked", lambda self, step, gate, stored: None)
    monkeypatch.setattr("shared.reconcile.promotions.PromotionController._ended_early", lambda self, one, gate: None)


def pass_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    conclude = CandidateController._conclude

    def kindly(self: Any, step: Any, gate: Any, index: int, result: Any) -> Any:
        return conclude(self, step, gate, index, msgspec.structs.replace(result, verdict=Verdict.PASSED))

    monkeypatch.setattr(CandidateController, "_conclude", kindly)


def skip_approval(monkeypatch: pytest.MonkeyPatch) -> None:
    def begun(self: Any, candidate: Any, index: int, run: Any, kind: Any, how: str) -> Any:
        if kind.waits_for_person:
            return candidate.with_check(index, verdict=Verdict.PASSED)
        return candidate.with_check(index, registry=run.registry, run_id=run.run_id)

    monkeypatch.setattr(CandidateController, "_begun", begun)


def lock_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def pretend(self: Any, step: Any, gate: Any) -> Any:
        return msgspec.structs.replace(step.record, locked_at=self._services.clock.now())

    monkeypatch.setattr(PromotionController, "_lock", pretend)


def mark_all_runs_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        candidates, "_mark", lambda candidate, index: f"basegate/{candidate.gate}/{candidate.row}/{index}/x"
    )


def forget_what_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgotten(self: CandidateController, candidate: Candidate, index: int, *rest: object) -> Candidate:
        return candidate.with_check_record(index, candidate.checks[index].unclaimed())

    monkeypatch.setattr(CandidateController, "_begun", forgotten)


def change_what_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    finish = Reconciler._finish

    def rewriting(self: Any, step: Any, until: Any, *, was_done: bool) -> None:
        finish(self, step, until, was_done=was_done)
        if getattr(step.record, "state", None) is CandidateState.FAILED:
            step.save(msgspec.structs.replace(step.record, state=CandidateState.EXAMINING))

    monkeypatch.setattr(Reconciler, "_finish", rewriting)


def send_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outbox, "enqueue", lambda self, listener, owner, wait_seconds=0.0: None)


def send_out_of_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outbox, "_follows", lambda self, delivery: False)


def drop_what_was_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    announce = ListenerController._announce

    def dropping(self: Any, announcer: Any, stored: Any) -> None:
        try:
            announce(self, announcer, stored)
        except Retry:
            self._services.ledger.commit(Removal(stored.record))

    monkeypatch.setattr(ListenerController, "_announce", dropping)


def put_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StableTags, "undo", lambda self, gate, tag, own, moved: None)
    monkeypatch.setattr(StableTags, "put_back", lambda self, gate, stored, found: None)


def count_no_observations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Observation, "with_sequence", lambda self, sequence: self)


def let_operators_die_after_lifting(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fault: the sweep resumes what they have released."""
    monkeypatch.setattr(GateOperations, "promote_again", lambda self, gate, tag, who: None)


def leave_what_was_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    let_operators_die_after_lifting(monkeypatch)
    monkeypatch.setattr(ReleasedJob, "_differing", lambda self: iter(()))


def purge_what_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge, "rows_in_use", lambda *_: set())


def purge_the_last_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge, "purgeable_attempts", lambda attempts, before, in_use: list(attempts))


def remove_unique_tags_that_are_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    def every_one(self: Any, known: Any, bases: Any) -> Any:
        return None, set()

    monkeypatch.setattr(GatePurgeJob, "_in_use", every_one)
    monkeypatch.setattr(LeftOvers, "_in_use", lambda self: (set(), set()))


def attach_no_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DecisionRecords, "attach", lambda self, *_: ())


def sign_what_is_attached_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was attached before a worker died is not attached again: the signature is another one."""
    attach = DecisionRecords.attach

    def signing(self: Any, promotion: Any, gate: Any, bundles: Any, documents: Any) -> Any:
        again = [self._signed(payload_of(one), self._services.signer) for one in bundles]
        return attach(self, promotion, gate, again, documents)

    monkeypatch.setattr(DecisionRecords, "attach", signing)


def copy_no_referrers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UpstreamReferrers, "copy", lambda self, *_: Copied())


def see_no_risk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RescanJob, "_judge", lambda self, run, stored, known, exceptions: iter(()))


def scan_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RescanJob, "_start_first", lambda self, run, known, wanted: None)


def judge_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = PromotedImages.judged

    def once(self: Any, stable: Any, known: Any, exceptions: Any) -> Any:
        return stable.current_scan or judged(self, stable, known, exceptions)

    monkeypatch.setattr(PromotedImages, "judged", once)


def test_what_operators_who_die_have_released_is_resumed_by_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    let_operators_die_after_lifting(monkeypatch)
    logging.disable(logging.CRITICAL)
    try:
        assert not any(Schedule(seed).play().violations for seed in range(100))
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("plant", [see_no_risk, scan_nothing_again, judge_once])
def test_a_fault_of_rescans_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    logging.disable(logging.CRITICAL)
    try:
        assert any(Schedule(seed, rescans=True).play().violations for seed in range(SCHEDULES))
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    "plant",
    [
        believe_events,
        forget_vetoes,
        ask_for_vetoes_too_early,
        build_on_banned_bases,
        ignore_holds,
        go_backwards,
        pass_what_failed,
        skip_approval,
        lock_nothing,
        mark_all_runs_alike,
        forget_what_was_started,
        change_what_is_settled,
        send_once,
        send_out_of_order,
        drop_what_was_not_heard,
        put_nothing_back,
        count_no_observations,
        leave_what_was_lifted,
        purge_what_is_in_use,
        purge_the_last_attempt,
        remove_unique_tags_that_are_in_use,
        attach_no_records,
        sign_what_is_attached_each_time,
        copy_no_referrers,
    ],
)
def test_a_planted_fault_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    logging.disable(logging.CRITICAL)
    try:
        assert any(Schedule(seed).play().violations for seed in range(SCHEDULES))
    finally:
        logging.disable(logging.NOTSET)
