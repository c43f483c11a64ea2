"""The decision records of promotions: attached to each promoted image, and nothing waits for one."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta

import msgspec
import pytest

from shared.attestation.envelope import load_keys
from shared.attestation.proof import Proof, proof
from shared.attestation.statement import DECISION_TYPE, SUMMARY_TYPE, rules_digest
from shared.checks.approval import ApprovalCheck
from shared.domain.dsse import BUNDLE_TYPE
from shared.domain.errors import EVIDENCE, BasegateError, Misconfigured, Retry, needing
from shared.domain.image import Digest
from shared.domain.policy import RegistryRule
from shared.domain.promotion import Promotion, PromotionState
from shared.health import HealthChecks
from shared.operations import Who
from shared.ports import Artifact
from tests.fakes import World, digest
from tests.fakes.registries import FakeSigner
from tests.fakes.world import ProcessDied

GREEN, BLUE = digest("green"), digest("blue")


@pytest.fixture
def signer() -> FakeSigner:
    return FakeSigner()


@pytest.fixture
def world(signer: FakeSigner) -> World:
    world = World()
    world.signer = signer
    world.restart()
    return world


def proofs(world: World, signer: FakeSigner, content: Digest) -> dict[str, Proof]:
    """What the artifacts of an image prove."""
    keys, attached = load_keys(signer.public_key), world.registry.attached.get(content, [])
    return {one.predicate_type: one for one in (proof(artifact.content, keys, content) for artifact in attached)}


def test_a_promoted_image_has_a_summary_and_a_decision_that_the_key_verifies(world: World, signer: FakeSigner) -> None:
    world.push("15-alpine", GREEN)
    world.settle()
    found, gate = proofs(world, signer, GREEN), world.policy.gates["node"]
    assert set(found) == {SUMMARY_TYPE, DECISION_TYPE}
    decision, promotion = found[DECISION_TYPE].decision, world.promotion()
    assert decision is not None
    assert (decision.gate, decision.tag, decision.unique_tag) == ("node", "15-alpine", promotion.unique)
    assert decision.policy.digest == {"sha256": rules_digest(gate)}
    assert decision.checks[0].verdict == "passed"
    assert decision.checks[0].evidence[0].digest
    assert found[DECISION_TYPE].names == ("contosobaseartifacts.azurecr.io/node",)
    assert (promotion.state, promotion.settled, len(promotion.attached)) == (PromotionState.PROMOTED, True, 2)


def test_the_artifacts_are_annotated_as_cosign_finds_them(world: World) -> None:
    world.push("15-alpine", GREEN)
    world.settle()
    artifacts = world.registry.attached[GREEN]
    assert {one.media_type for one in artifacts} == {BUNDLE_TYPE}
    assert {one.annotations["dev.sigstore.bundle.predicateType"] for one in artifacts} == {SUMMARY_TYPE, DECISION_TYPE}
    assert {one.annotations["dev.sigstore.bundle.content"] for one in artifacts} == {"dsse-envelope"}


def test_policy_controller_finds_the_envelopes_under_the_older_tag(world: World, signer: FakeSigner) -> None:
    world.push("15-alpine", GREEN)
    world.settle()
    layers = world.registry.layers[f"base/node:{GREEN.replace(':', '-')}.att"]
    assert {layer.media_type for layer in layers} == {"application/vnd.dsse.envelope.v1+json"}
    assert [layer.annotations["predicateType"] for layer in layers] == [SUMMARY_TYPE, DECISION_TYPE]
    envelopes = [json.loads(artifact.content)["dsseEnvelope"] for artifact in world.registry.attached[GREEN]]
    assert [json.loads(layer.content) for layer in layers] == envelopes


def test_the_record_is_in_the_archive_as_it_is_attached(world: World) -> None:
    world.push("15-alpine", GREEN)
    world.settle()
    lines = world.archive.read(world.promotion().signed_record).splitlines()
    assert [line.encode() for line in lines] == [artifact.content for artifact in world.registry.attached[GREEN]]
    assert all(json.loads(line)["mediaType"] == BUNDLE_TYPE for line in lines)


def test_who_approved_and_who_asked_are_in_the_record(world: World, signer: FakeSigner) -> None:
    gate = world.policy.gates["node"]
    asking = msgspec.structs.replace(gate, checks=(ApprovalCheck(),))
    world.use(msgspec.structs.replace(world.policy, gates={"node": asking}))
    world.push("15-alpine", GREEN)
    world.settle()
    (candidate,) = world.candidates()
    world.operate.candidates.approve(candidate.id, Who("bob", "it looks fine")).act()
    world.settle()
    decision = proofs(world, signer, GREEN)[DECISION_TYPE].decision
    assert decision is not None
    assert decision.actors.approved == ("bob: it looks fine",)
    assert decision.actors.found_by == "event"


@pytest.mark.parametrize(
    "fault", [Misconfigured("403", remedy="give the app its role"), Retry("503")], ids=["refused", "away"]
)
def test_a_key_that_does_not_sign_stops_no_promotion_and_the_record_is_made_when_it_does(
    world: World, signer: FakeSigner, fault: BasegateError
) -> None:
    signer.fault = fault
    world.push("15-alpine", GREEN)
    world.settle()
    world.pass_time(300)
    promotion = world.promotion()
    assert world.stable_tag() == GREEN
    assert [rollout.state for rollout in world.rollouts()] == ["live"]
    assert "Promoted" in world.announcer.names
    assert (promotion.state, promotion.state_name, promotion.settled) == (PromotionState.PROMOTED, "stalled", False)
    assert promotion.stall is not None
    assert (promotion.stall.dependency, promotion.stall.step) == ("signing key", "sign the decision record")
    signer.fault = None
    world.pass_time(400)
    assert (world.promotion().state_name, len(world.registry.attached[GREEN])) == ("promoted", 2)


def test_a_registry_that_takes_no_artifact_stalls_the_record_alone(world: World, signer: FakeSigner) -> None:
    world.registry.attach_fault = Retry("503")
    world.push("15-alpine", GREEN)
    world.settle()
    world.pass_time(120)
    stall = world.promotion().stall
    assert stall is not None
    assert stall.dependency == "registry base"
    made = signer.signed
    world.push("15-alpine", BLUE)
    world.settle()
    assert world.stable_tag() == BLUE
    world.registry.attach_fault = None
    world.pass_time(400)
    assert all(promotion.attached for promotion in world.promotions())
    assert signer.signed == made + 2


@pytest.mark.parametrize(
    ("method", "of_record", "step"),
    [
        ("read", False, "sign the decision record"),
        ("store", True, "sign the decision record"),
        ("read", True, "attach the decision record"),
    ],
    ids=["evidence is read", "the record is stored", "the record is read"],
)
def test_an_archive_that_is_away_is_what_the_record_waits_for(
    world: World, method: str, *, of_record: bool, step: str
) -> None:
    works = getattr(world.archive, method)

    def away(name: str, *text: str) -> str:
        if name.startswith("decision-records/") is of_record:
            with needing(EVIDENCE):  # as the archive's adapter does
                raise Retry("503")
        return str(works(name, *text))

    setattr(world.archive, method, away)
    world.push("15-alpine", GREEN)
    world.settle()
    world.pass_time(120)
    stall = world.promotion().stall
    assert stall is not None
    assert (stall.dependency, stall.step) == ("evidence (blobs)", step)
    setattr(world.archive, method, works)
    world.pass_time(400)
    assert world.promotion().attached


def test_a_worker_that_dies_after_it_attached_attaches_nothing_else(world: World) -> None:
    attach, deaths = world.registry.attach, [True]

    def dying(registry: RegistryRule, repository: str, subject: Digest, artifact: Artifact) -> Digest:
        attached = attach(registry, repository, subject, artifact)
        if deaths and deaths.pop():
            raise ProcessDied
        return attached

    world.registry.attach = dying  # type: ignore[method-assign]
    world.push("15-alpine", GREEN)
    world.settle_while_crashing()
    assert len(world.registry.attached[GREEN]) == 2
    assert len(world.promotion().attached) == 2


def test_what_the_archive_has_lost_is_signed_again(world: World, signer: FakeSigner) -> None:
    world.registry.attach_fault = Retry("503")
    world.push("15-alpine", GREEN)
    world.settle()
    world.archive.texts = {name: text for name, text in world.archive.texts.items() if "decision-records" not in name}
    world.registry.attach_fault = None
    world.pass_time(400)
    assert set(proofs(world, signer, GREEN)) == {SUMMARY_TYPE, DECISION_TYPE}
    assert [entry.what for entry in world.promotion().history].count("decision record signed") == 2


def test_without_a_key_there_is_no_record_and_no_further_step() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.promotion().settled
    assert not world.registry.attached
    assert not any("decision record" in entry.what for entry in world.promotion().history)


def test_a_key_that_is_taken_away_ends_the_wait_for_it(world: World, signer: FakeSigner) -> None:
    signer.fault = Retry("503")
    world.push("15-alpine", GREEN)
    world.settle()
    world.signer = None
    world.restart()
    world.pass_time(400)
    assert world.promotion().settled
    assert world.promotion().history[-1].why == "no signing key is set any more"


def test_an_image_that_was_deleted_before_gets_no_record(world: World, signer: FakeSigner) -> None:
    signer.fault = Retry("503")
    world.push("15-alpine", GREEN)
    world.settle()
    for place in [place for place, content in world.registry.tags.items() if place[0] == "base" and content == GREEN]:
        del world.registry.tags[place]
    signer.fault = None
    world.pass_time(400)
    assert world.promotion().history[-1].what == "decision record given up"
    assert "is not in contosobaseartifacts.azurecr.io/node" in world.promotion().history[-1].why


def test_a_record_that_may_be_attached_in_part_when_its_gate_is_removed_is_given_up(world: World) -> None:
    def dies(record: object) -> None:
        if isinstance(record, Promotion) and record.attached:
            world.ledger.before_save = None
            raise ProcessDied

    world.ledger.before_save = dies
    world.push("15-alpine", GREEN)
    with suppress(ProcessDied):
        world.settle()
    assert world.ledger.before_save is None
    world.use(msgspec.structs.replace(world.policy, gates={}))
    world.reconciler.work(world.promotion().work_item, redelivered=True)
    assert world.promotion().history[-1].what == "decision record given up"


def test_rules_that_changed_since_the_verdict_are_not_claimed_to_be_those_of_the_decision(
    world: World, signer: FakeSigner
) -> None:
    signer.fault = Retry("503")
    world.push("15-alpine", GREEN)
    world.settle()
    before, gate = world.policy.gates["node"].fingerprint, world.policy.gates["node"]
    stricter = msgspec.structs.replace(gate, checks=(*gate.checks, ApprovalCheck()))
    world.use(msgspec.structs.replace(world.policy, gates={"node": stricter}))
    signer.fault = None
    world.pass_time(400)
    decision = proofs(world, signer, GREEN)[DECISION_TYPE].decision
    assert decision is not None
    assert (decision.fingerprint, decision.policy.digest) == (before, {})


def test_the_wait_for_a_signature_blocks_no_repair_and_is_no_move_in_flight(world: World, signer: FakeSigner) -> None:
    signer.fault = Retry("503")
    world.push("15-alpine", GREEN)
    world.settle()
    world.clock.forward(timedelta(hours=1).total_seconds())
    world.registry.tags[("base", "node:15-alpine")] = BLUE
    world.registry.untagged.add(("base", "node", BLUE))
    world.sweep_now()
    assert world.stable_tag() == GREEN


def test_a_signing_key_is_checked_and_is_no_reason_to_be_unready(world: World, signer: FakeSigner) -> None:
    def result() -> tuple[str, bool, str]:
        found = next(one for one in HealthChecks(world.services).run() if one.dependency == "signing key")
        return found.state, found.stops, found.detail + found.remedy

    assert result() == ("ok", False, "")
    signer.fault = Misconfigured("there is no key", remedy="create it")
    state, stops, said = result()
    assert (state, stops) == ("warning", False)
    assert "there is no key; promotions go on" in said
    assert said.endswith("create it")
    world.signer = None
    world.restart()
    assert "none is set" in result()[2]
