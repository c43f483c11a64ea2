"""VEX at a gate: which documents count, which do not, and what is kept of them."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace
from rich.console import Console

from basegate_cli import show
from basegate_cli.verify import _check_lines
from shared.attestation.statement import Check, UsedDocument
from shared.checks import check_kinds
from shared.checks import vex as checks_vex
from shared.checks.approval import ApprovalCheck
from shared.checks.scan import ScanCheck
from shared.checks.signature import SignatureCheck
from shared.checks.vex import ATTESTATIONS_LIMIT, READ_SECONDS, VexDocuments, VexReading, VexRule
from shared.domain.candidate import CandidateState, Evidence, Verdict, VexSummary
from shared.domain.decide import START_LIMIT_SECONDS
from shared.domain.dsse import BUNDLE_TYPE
from shared.domain.errors import Malformed, Misconfigured, Rejected, Retry
from shared.domain.image import Digest
from shared.domain.policy import RegistryRule
from shared.findings.model import Severity
from shared.findings.rules import Condition
from shared.health import HealthChecks
from shared.ports import Attachments, Descriptor
from shared.queries.findings import ScanFindings
from shared.rules import InvalidGates, parse_gates
from shared.signatures.model import Attached
from shared.signatures.trust import CosignTrust
from tests.fakes import World, digest
from tests.fakes.sigstore import (
    NOW,
    WORKFLOW,
    Sigstore,
    bundle_layer,
    envelope,
    envelope_layer,
    key_bundle,
    pem,
    statement,
)
from tests.triggers.test_board_findings import page_of
from tests.unit.operators import hold, rerun
from tests.unit.test_rescan import DAY, SCAN_SECONDS, alarms, rescans
from tests.unit.test_scan_check import (
    GREEN,
    OPENSSL,
    RED,
    SCAN,
    ZLIB,
    accepted,
    change,
    counted_reads,
    push,
    scan_world,
    summary,
    swept,
    will_report,
)

KEY, STRANGER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
VEX = replace(SCAN, vex=VexRule(cosign=CosignTrust(key=pem(KEY))))
TYPE = "https://openvex.dev/ns/v0.2.0"
TAG = f"{GREEN.replace(':', '-')}.att"


@pytest.fixture(autouse=True)
def fresh() -> None:
    """What this process has read before is forgotten: images of several tests are the same."""
    checks_vex._recent.clear()


def document(status: str = "not_affected", *, at: str = "2026-02-01T00:00:00Z", product: str = "") -> dict[str, Any]:
    """An OpenVEX document about the image."""
    return {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://acme.example/vex/1",
        "author": "acme",
        "timestamp": at,
        "version": 1,
        "statements": [
            {
                "vulnerability": {"name": "CVE-2026-1"},
                "products": [{"@id": product or f"pkg:oci/node@{GREEN}"}],
                "status": status,
                "justification": "vulnerable_code_not_in_execute_path",
            }
        ],
    }


def said(about: Digest = GREEN, predicate_type: str = TYPE, predicate: Any = None) -> bytes:
    """A statement with such a document."""
    return statement(about, predicate_type, predicate=document() if predicate is None else predicate)


def attach(world: World, *attached: Attached) -> None:
    for one in attached:
        world.referrers.attach(GREEN, [one], BUNDLE_TYPE)


def vex_world(*attached: Attached, rule: ScanCheck = VEX) -> World:
    """A world whose scan finds CVE-2026-1 in the image, with something attached to that upstream."""
    world = scan_world(rule)
    will_report(world, OPENSSL)
    attach(world, *attached)
    return world


def pushed(*attached: Attached, rule: ScanCheck = VEX) -> World:
    """Such a world after the image was pushed and scanned."""
    world = vex_world(*attached, rule=rule)
    push(world)
    return world


def kept(world: World) -> VexSummary:
    found = world.candidate(GREEN).checks[0].evidence.vex
    assert found is not None
    return found


def warning(world: World) -> str:
    """The only warning of an image that failed: what is attached had no effect."""
    assert (world.candidate(GREEN).state, world.stable_tag()) == (CandidateState.FAILED, None)
    (found,) = summary(world).warnings
    return found


# What counts.


@pytest.mark.parametrize("predicate_type", ["https://openvex.dev/ns", TYPE, "https://openvex.dev/ns/v0.0.1"])
def test_a_signed_document_covers_what_it_says(predicate_type: str) -> None:
    world = pushed(key_bundle(KEY, said(predicate_type=predicate_type)))
    assert world.stable_tag() == GREEN
    assert (summary(world).failing, summary(world).covered, summary(world).warnings) == (0, 1, ())


def test_a_document_under_the_tag_of_the_older_scheme_counts() -> None:
    world = vex_world()
    world.referrers.attach(GREEN, [envelope_layer(envelope(KEY, said()))], tag=TAG)
    push(world)
    assert world.stable_tag() == GREEN


@pytest.mark.parametrize("older", [False, True])
def test_a_keyless_document_counts_and_names_who_signed_it(older: bool) -> None:
    house = Sigstore()
    one = house.old_attestation(said()) if older else bundle_layer(house.bundle(said()))
    world = vex_world(rule=replace(SCAN, vex=VexRule(cosign=house.trust("https://github.com/acme/*"))))
    world.referrers.attach(GREEN, [one], "" if older else BUNDLE_TYPE, tag=TAG if older else "")
    push(world)
    assert world.stable_tag() == GREEN
    (found,) = ScanFindings(world.services).of_candidate(world.candidate(GREEN).id).vex
    assert found.signer.startswith(WORKFLOW)
    assert str(found.signed_at) == "2026-03-01 12:01:00+00:00"


def test_the_newest_statement_counts_whatever_the_order_of_the_list() -> None:
    newer = key_bundle(KEY, said(predicate=document("affected", at="2026-02-02T00:00:00Z")))
    older = key_bundle(KEY, said())
    for attached in ((newer, older), (older, newer)):
        assert pushed(*attached).stable_tag() is None


def test_a_document_about_another_image_does_not_count() -> None:
    other = key_bundle(KEY, said(predicate=document(product=f"pkg:oci/node@{RED}")))
    world = pushed(other)
    assert (world.stable_tag(), summary(world).covered) == (None, 0)


def test_a_rule_without_vex_reads_nothing_that_is_attached() -> None:
    world = pushed(key_bundle(KEY, said()), rule=SCAN)
    assert (world.stable_tag(), world.candidate(GREEN).checks[0].evidence.vex) == (None, None)
    assert not set(world.referrers.reads) - {GREEN}


def test_an_image_without_documents_is_judged_without_a_warning() -> None:
    world = pushed()
    assert (world.stable_tag(), summary(world).warnings, kept(world).documents) == (None, (), "")


def test_the_image_may_be_one_of_many_subjects() -> None:
    others = [{"digest": {"sha256": f"{number:064x}"}} for number in range(1000)]
    newer = json.loads(said(predicate=document("affected", at="2026-02-02T00:00:00Z")))
    newer["subject"] = [*others, *newer["subject"]]
    world = pushed(key_bundle(KEY, said()), key_bundle(KEY, json.dumps(newer).encode()))
    assert (world.stable_tag(), summary(world).covered, summary(world).warnings) == (None, 0, ())


# What does not count, and stops nothing.


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (key_bundle(STRANGER, said()), "it is not by the key of the rule"),
        (key_bundle(KEY, said(about=RED)), f"it is for {RED}"),
        (bundle_layer(Sigstore().bundle(said())), "it is not by the key of the rule"),
        (
            bundle_layer(json.loads(key_bundle(KEY, said()).payload) | {"dsseEnvelope": {"signatures": []}}),
            "the bundle is not of its form",
        ),
        (replace(key_bundle(KEY, said()), media_type="application/json"), "it has no attestation"),
        (replace(key_bundle(KEY, said()), payload=b"{"), "the bundle is not of its form"),
    ],
    ids=["foreign", "another subject", "keyless, of another authority", "unsigned", "media type", "broken"],
)
def test_what_nobody_trusted_has_signed_is_counted_and_has_no_effect(one: Attached, reason: str) -> None:
    text = warning(pushed(one))
    assert text.startswith("1 attached attestation has no effect: nobody whom the rule trusts has signed")
    assert reason in text


def test_an_unsigned_copy_of_a_signed_document_does_not_count() -> None:
    unsigned = json.loads(key_bundle(KEY, said()).payload)
    unsigned["dsseEnvelope"]["signatures"] = []
    assert "1 attached attestation has no effect" in warning(pushed(bundle_layer(unsigned)))


def test_an_attestation_that_is_attached_to_another_image_is_not_read() -> None:
    world = vex_world()
    world.referrers.attach(GREEN, [key_bundle(KEY, said())], BUNDLE_TYPE, named=RED)
    push(world)
    assert f"it is attached to {RED}, not to {GREEN}" in warning(world)


def test_what_is_refused_keeps_no_signed_document_from_counting() -> None:
    world = pushed(key_bundle(STRANGER, said()), key_bundle(KEY, said()), key_bundle(STRANGER, said(about=RED)))
    (text,) = summary(world).warnings
    assert (world.stable_tag(), text.partition(" has")[0].partition(" have")[0]) == (GREEN, "2 attached attestations")


def test_other_attestations_of_the_same_signer_are_neither_documents_nor_a_warning() -> None:
    others = (key_bundle(KEY, statement(GREEN)), key_bundle(KEY, statement(GREEN, "https://slsa.dev/provenance/v1")))
    world = pushed(*others, key_bundle(KEY, said()))
    assert (world.stable_tag(), summary(world).warnings) == (GREEN, ())


def test_the_key_of_the_signature_check_excuses_nothing() -> None:
    by_another = replace(SCAN, vex=VexRule(cosign=CosignTrust(key=pem(STRANGER))))
    world = vex_world(key_bundle(KEY, said()))
    change(world, SignatureCheck(cosign=CosignTrust(key=pem(KEY))), by_another)
    attach(world, key_bundle(KEY, statement(GREEN)))
    push(world)
    signature, scan = world.candidate(GREEN).checks
    assert (signature.verdict, scan.verdict) == (Verdict.PASSED, Verdict.FAILED)


def test_ten_thousand_referrers_are_not_read_and_hide_no_later_statement() -> None:
    world = vex_world(key_bundle(KEY, said()))
    world.referrers.left_out = 10_000
    push(world)
    assert warning(world) == "judged without VEX: 10000 of the attestations of the image are beyond the limits"
    assert not set(world.referrers.reads) - {GREEN}


def test_more_attestations_than_are_read_are_all_without_effect() -> None:
    world = vex_world(key_bundle(KEY, said()))
    for number in range(ATTESTATIONS_LIMIT):
        attach(world, key_bundle(STRANGER, said(predicate={"number": number})))
    push(world)
    assert warning(world) == f"judged without VEX: the image has more than {ATTESTATIONS_LIMIT} attestations"
    assert not set(world.referrers.reads) - {GREEN}


def test_many_layers_under_the_tag_are_bounded_too() -> None:
    world = vex_world()
    layers = [envelope_layer(envelope(STRANGER, said(predicate={"n": n}))) for n in range(ATTESTATIONS_LIMIT + 10)]
    world.referrers.attach(GREEN, [envelope_layer(envelope(KEY, said())), *layers], tag=TAG)
    push(world)
    assert f"more than {ATTESTATIONS_LIMIT} attestations" in warning(world)


def test_pages_without_an_end_are_a_list_that_is_incomplete() -> None:
    world = vex_world(key_bundle(KEY, said()))
    world.referrers.is_complete = False
    push(world)
    assert "some of the attestations of the image are beyond the limits" in warning(world)


def test_a_huge_attestation_may_be_a_later_statement_so_none_counts() -> None:
    huge = replace(key_bundle(STRANGER, said()), payload=b" " * 1_100_000)
    assert "sent more than 1048576 bytes" in warning(pushed(huge, key_bundle(KEY, said())))


def test_all_attestations_together_are_bounded() -> None:
    many = [replace(key_bundle(STRANGER, said()), payload=b" " * 1_000_000 + bytes([65 + n])) for n in range(5)]
    assert "bytes of attestations" in warning(pushed(*many, key_bundle(KEY, said())))


def test_a_huge_attestation_that_says_it_is_no_document_is_not_read() -> None:
    world = vex_world(key_bundle(KEY, said()))
    sbom = {"mediaType": BUNDLE_TYPE, "digest": world.referrers.put(b" " * 2_000_000), "size": 2_000_000}
    manifest = {
        "artifactType": BUNDLE_TYPE,
        "subject": {"digest": GREEN},
        "layers": [sbom],
        "annotations": {"dev.sigstore.bundle.predicateType": "https://spdx.dev/Document"},
    }
    found = world.referrers.put(json.dumps(manifest).encode())
    world.referrers.listed[GREEN].append(Descriptor(digest=found, artifact_type=BUNDLE_TYPE))
    push(world)
    assert (world.stable_tag(), summary(world).warnings) == (GREEN, ())


@pytest.mark.parametrize(
    "predicate",
    [
        {},
        {"@context": TYPE, "statements": [{"status": "fine"}]},
        "text",
        [1],
        {"bomFormat": "CycloneDX", "vulnerabilities": []},
        {"document": {"category": "csaf_vex"}},
    ],
)
def test_a_signed_document_that_cannot_be_read_leaves_none_that_counts(predicate: Any) -> None:
    world = pushed(key_bundle(KEY, said()), key_bundle(KEY, said(predicate=predicate)))
    assert "which key sha256:" in warning(world)
    assert "has signed, cannot be read" in warning(world)


def test_a_signed_statement_of_another_version_leaves_none_that_counts() -> None:
    later = said(predicate=document("affected", at="2026-02-02T00:00:00Z")).replace(b"Statement/v1", b"Statement/v2")
    text = warning(pushed(key_bundle(KEY, said()), key_bundle(KEY, later)))
    assert text.startswith("judged without VEX: ")
    assert "has signed it, and it cannot be read ('https://in-toto.io/Statement/v2' is no supported version" in text


def test_a_document_with_several_signatures_leaves_none_that_counts() -> None:
    several = json.loads(key_bundle(KEY, said()).payload)
    several["dsseEnvelope"]["signatures"] *= 2
    assert "the envelope has 2 signatures" in warning(pushed(key_bundle(KEY, said()), bundle_layer(several)))


@pytest.mark.parametrize("fault", [Rejected("no pulls on Sundays"), Malformed("digest", "the bytes have another")])
def test_an_attestation_that_cannot_be_had_leaves_none_that_counts(fault: Rejected | Malformed) -> None:
    world = vex_world(key_bundle(KEY, said()), key_bundle(STRANGER, said()))
    world.referrers.faults[world.referrers.listed[GREEN][1].digest] = fault
    push(world)
    assert warning(world) == f"judged without VEX: what is attached to the image cannot be read: {fault.problem}"


def test_a_list_that_is_none_is_a_warning_and_not_the_end_of_the_scan() -> None:
    world = vex_world(key_bundle(KEY, said()))
    world.referrers.list_fault = Malformed("referrers", "the response is not an index")
    push(world)
    assert "judged without VEX: what is attached to the image cannot be read: the response" in warning(world)


def test_a_reading_that_takes_too_long_ends_in_time_and_is_judged_without(monkeypatch: pytest.MonkeyPatch) -> None:
    world = vex_world(*(key_bundle(STRANGER, said(predicate={"n": number})) for number in range(20)))
    passed = iter(range(0, 10_000, 2))
    monkeypatch.setattr("shared.checks.vex.time.monotonic", lambda: float(next(passed)))
    push(world)
    assert warning(world).endswith(f"takes longer than {READ_SECONDS:.0f} s")
    assert len(set(world.referrers.reads)) < 20


def test_a_source_that_is_away_is_no_verdict_and_the_report_is_read_when_it_is_back() -> None:
    world = vex_world(key_bundle(KEY, said()))
    world.referrers.list_fault = Retry("registry: 503")
    push(world)
    stall = world.candidate(GREEN).stall
    assert stall is not None
    assert (stall.dependency, stall.reason) == ("VEX documents at the source", "registry: 503")
    world.referrers.list_fault = None
    world.pass_time(3600)
    assert (world.stable_tag(), len(world.tasks.runs)) == (GREEN, 1)


# What is kept, and judged again.


def test_the_documents_are_stored_beside_the_report_with_their_signers() -> None:
    world = pushed(key_bundle(KEY, said()))
    check = world.candidate(GREEN).checks[0]
    reading = msgspec.json.decode(world.archive.texts[kept(world).place], type=VexReading)
    (one,) = reading.documents
    assert json.loads(one.text) == document()
    assert (one.by.startswith("key sha256:"), one.place) == (True, world.referrers.listed[GREEN][0].digest)
    assert kept(world).place in check.evidence.blobs
    assert kept(world).place.startswith(check.evidence.report_blob.removesuffix(".report.json"))


def test_what_two_workers_read_at_two_moments_is_kept_at_two_places() -> None:
    world = pushed(key_bundle(KEY, said()))
    candidate, documents = world.candidate(GREEN), VexDocuments(world.services)
    check = candidate.checks[0]
    earlier = documents.kept(check)
    later = documents.keep(candidate, check, replace(earlier, documents=(), listed="changed"))
    assert later.place != kept(world).place
    assert documents.kept(check) == earlier
    assert documents.keep(candidate, check, earlier) == kept(world), "the same reading has the same place"


def test_the_decision_names_the_hash_and_the_signer_of_each_document() -> None:
    world = pushed(key_bundle(KEY, said()))
    check = world.candidate(GREEN).checks[0]
    kind, image = check_kinds(world.services)["scan"], world.candidate(GREEN).image
    facts = kind.facts(check, image)
    (found,) = ScanFindings(world.services).of_candidate(world.candidate(GREEN).id).vex
    assert facts.vex == (UsedDocument(digest={"sha256": found.sha256}, signer=found.signer),)
    assert [one.name for one in facts.evidence] == ["log", "report", "vex", "sarif", "cyclonedx"]
    assert all(one.digest for one in facts.evidence)
    for attached in kind.documents(check, image).values():
        assert b"the VEX statement of acme, 2026-02-01 that CVE-2026-1 is not affected" in attached.content
    del world.archive.texts[kept(world).place]
    lost = kind.facts(check, image)
    assert (lost.vex, [one.digest for one in lost.evidence if one.name == "vex"]) == ((), [{}])


def test_what_is_judged_again_is_judged_by_what_was_kept() -> None:
    world = vex_world(key_bundle(KEY, said()), rule=VEX)
    change(world, VEX, ApprovalCheck())
    push(world)
    assert world.candidate(GREEN).state is CandidateState.AWAITING_APPROVAL
    world.referrers.listed[GREEN].clear()
    world.referrers.reads.clear()
    change(world, replace(VEX, fail_on=(Condition(severity=Severity.LOW),)), ApprovalCheck())
    swept(world)
    candidate = world.candidate(GREEN)
    assert (candidate.attempt, candidate.state) == (2, CandidateState.AWAITING_APPROVAL)
    assert (summary(world).covered, world.referrers.reads) == (1, [])
    assert len(world.tasks.runs) == 1


def test_for_another_trust_what_is_attached_is_read_anew_without_a_run() -> None:
    world = vex_world(key_bundle(KEY, said()))
    change(world, VEX, ApprovalCheck())
    push(world)
    change(world, replace(SCAN, vex=VexRule(cosign=CosignTrust(key=pem(STRANGER)))), ApprovalCheck())
    swept(world)
    assert (world.candidate(GREEN).attempt, world.candidate(GREEN).state) == (2, CandidateState.FAILED)
    assert (kept(world).documents, len(world.tasks.runs)) == ("", 1)


def test_a_rule_that_gets_vex_judges_a_failed_image_again_without_a_run() -> None:
    world = pushed(key_bundle(KEY, said()), rule=SCAN)
    assert world.stable_tag() is None
    change(world, VEX)
    swept(world)
    assert (world.stable_tag(), len(world.tasks.runs), kept(world).place != "") == (GREEN, 1, True)


def test_a_document_that_comes_after_the_verdict_lets_a_failed_image_pass() -> None:
    world = pushed()
    first = kept(world)
    attach(world, key_bundle(KEY, said()))
    swept(world)
    candidate = world.candidate(GREEN)
    assert (candidate.attempt, candidate.state, world.stable_tag()) == (2, CandidateState.PASSED, GREEN)
    assert (len(world.tasks.runs), summary(world).covered) == (1, 1)
    assert first.place in world.archive.texts, "the evidence of the first attempt stays"
    assert kept(world).place not in ("", first.place)


def test_a_document_that_is_newer_than_the_scan_is_in_the_documents_about_it() -> None:
    world = pushed()
    world.pass_time(5 * DAY)
    stated = f"{world.clock.now() - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    attach(world, key_bundle(KEY, said(predicate=document(at=stated))))
    swept(world)
    (check,) = world.candidate(GREEN).checks
    assert (world.stable_tag(), check.finished_at is not None and f"{check.finished_at:%F}" < stated) == (GREEN, True)
    for attached in check_kinds(world.services)["scan"].documents(check, world.candidate(GREEN).image).values():
        assert b"the VEX statement of acme" in attached.content


@pytest.mark.parametrize(
    "one",
    [key_bundle(STRANGER, said()), key_bundle(KEY, said(predicate={"@context": "https://openvex.dev/ns/v0.2.0"}))],
    ids=["by a stranger", "that cannot be read"],
)
def test_what_is_attached_later_and_does_not_count_is_read_once_and_starts_no_attempt(one: Attached) -> None:
    world = pushed()
    attach(world, one)
    swept(world)
    read = len(world.referrers.reads)
    texts = set(world.archive.texts)
    for _ in range(3):
        swept(world)
    assert (world.candidate(GREEN).attempt, len(world.referrers.reads)) == (1, read)
    assert set(world.archive.texts) == texts, "a sweep stores nothing for an image that still fails"


def test_an_unchanged_list_costs_a_failed_image_neither_a_manifest_nor_its_report() -> None:
    world = pushed(key_bundle(STRANGER, said()))
    reads, world.referrers.reads = counted_reads(world), []
    for _ in range(3):
        swept(world)
    assert (reads, world.referrers.reads) == ([], [])


def test_a_sweep_judges_by_exceptions_while_the_source_is_away() -> None:
    world = pushed()
    world.referrers.list_fault = Retry("registry: 503")
    change(world, VEX, exceptions=(accepted(),))
    swept(world)
    assert world.stable_tag() == GREEN


def test_a_dry_run_of_the_sweep_stores_nothing() -> None:
    world = pushed()
    attach(world, key_bundle(KEY, said()))
    texts = dict(world.archive.texts)
    world.pass_time(3600)
    result = world.sweep_now(dry_run=True)
    assert any(effect.what == "resume" for effect in result.effects)
    assert world.archive.texts == texts


def test_what_was_stored_and_is_changed_or_lost_does_not_count() -> None:
    world = vex_world(key_bundle(KEY, said()))
    change(world, VEX, ApprovalCheck())
    push(world)
    place = kept(world).place
    world.archive.texts[place] = world.archive.texts[place].replace("CVE-2026-1", "CVE-2026-2")
    found = ScanFindings(world.services).of_candidate(world.candidate(GREEN).id)
    assert (found.verdict, found.vex) == ("failed", ())
    assert "judged without VEX" in found.warnings[0]


def test_a_secret_may_hold_the_key_and_one_that_cannot_be_used_stalls() -> None:
    world = vex_world(key_bundle(KEY, said()), rule=replace(SCAN, vex=VexRule(cosign=CosignTrust(key="secret:vex"))))
    push(world)
    stall = world.candidate(GREEN).stall
    assert stall is not None
    assert "there is no secret vex" in stall.reason
    world.secrets.texts["vex"] = "no key"
    results = {one.dependency: one for one in HealthChecks(world.services).run()}
    assert "scan.vex.cosign.key is not a public key in PEM" in results["trusted signers of VEX (secret vex)"].detail
    world.secrets.texts["vex"] = pem(KEY)
    world.pass_time(3600)
    assert world.stable_tag() == GREEN


def test_a_record_of_an_earlier_version_has_no_documents() -> None:
    assert msgspec.convert({"report_blob": "x"}, Evidence).vex is None


def test_what_was_stored_is_removed_with_its_attempt() -> None:
    world = pushed(key_bundle(KEY, said()))
    world.keep = timedelta(days=30)
    world.restart()
    places = [kept(world).place]
    for _ in range(3):
        world.pass_time(DAY)
        rerun(world, GREEN)
        world.settle()
        places.append(kept(world).place)
    assert len(set(places)) == 4
    world.pass_time(100 * DAY)
    world.sweep_now()
    left = {one.checks[0].evidence.vex.place for one in world.candidates() if one.checks[0].evidence.vex}
    assert len(left) < 4
    assert {place for place in places if place in world.archive.texts} == left


# Promoted images.


def test_a_promoted_image_is_scanned_again_with_the_documents_that_are_upstream_then() -> None:
    world = pushed(key_bundle(KEY, said()), rule=replace(VEX, rescan="24h"))
    first, attached = kept(world), world.referrers.attached
    asked = list[str]()

    def recorded(registry: RegistryRule, *where: Any, **options: Any) -> Attachments:
        asked.append(registry.name)
        return attached(registry, *where, **options)

    swept_again(world)
    assert (alarms(world), rescans(world)[0].failures) == ([], 0)
    world.referrers.attached = recorded  # type: ignore[method-assign]
    attach(world, key_bundle(KEY, said(predicate=document("affected", at="2026-02-02T00:00:00Z"))))
    swept_again(world)
    assert set(asked) == {"public"}
    (alarm,) = alarms(world)
    assert "CVE-2026-1" in alarm.words
    (record,) = rescans(world)
    assert record.last is not None
    newest = record.last.evidence.vex
    assert newest is not None
    assert newest.place in record.owned
    assert (newest.documents != first.documents, first.place in world.archive.texts) == (True, True)


def swept_again(world: World) -> None:
    world.pass_time(DAY)
    world.sweep_now()
    world.pass_time(300)
    world.sweep_now()


def test_until_it_is_scanned_again_a_promoted_image_is_judged_by_the_documents_of_its_promotion() -> None:
    world = pushed(key_bundle(KEY, said()), rule=replace(VEX, rescan="24h"))
    world.referrers.listed[GREEN].clear()
    world.pass_time(300)
    world.sweep_now()
    assert alarms(world) == []
    assert rescans(world)[0].last is not None


@pytest.mark.parametrize("fault", [Retry("registry: 503"), Misconfigured("the app may not read", remedy="the role")])
def test_a_source_that_stays_away_keeps_no_new_finding_of_a_promoted_image_back(fault: Retry | Misconfigured) -> None:
    world = pushed(key_bundle(KEY, said()), rule=replace(VEX, rescan="24h"))
    swept_again(world)
    world.referrers.list_fault = fault
    swept_again(world)
    (waiting,) = rescans(world)
    assert (alarms(world), waiting.run.reason) == ([], str(fault))
    world.pass_time(SCAN_SECONDS + START_LIMIT_SECONDS)
    world.sweep_now()
    (alarm,), (record,) = alarms(world), rescans(world)
    assert ("CVE-2026-1" in alarm.words, record.failures, record.last and record.last.evidence.vex) == (True, 0, None)
    world.referrers.list_fault = None
    swept_again(world)
    assert alarms(world) == []


def test_while_the_source_is_away_all_images_at_risk_are_told_though_not_what_repairs_them() -> None:
    strict = replace(VEX, rescan="24h", fail_on=(Condition(severity=Severity.LOW),))
    world = scan_world(replace(VEX, rescan="24h"))
    will_report(world, ZLIB)
    push(world)
    world.push("15.14", digest("blue"))
    world.settle()
    hold(world)
    will_report(world)
    push(world, RED)
    world.pass_time(300)
    world.sweep_now()
    world.referrers.list_fault = Retry("registry: 503")
    change(world, replace(strict, vex=VexRule(cosign=CosignTrust(key=pem(STRANGER)))))
    world.pass_time(300)
    world.sweep_now()
    assert [one.words.partition(" of gate")[0] for one in alarms(world)] == ["15-alpine", "15.14"]
    assert "no candidate that repairs it" in alarms(world)[0].plan
    world.referrers.list_fault = None
    world.pass_time(300)
    world.sweep_now()
    assert f"candidate {world.candidate(RED).id} repairs it" in alarms(world)[0].plan


# What people are told.


def test_the_page_the_command_and_the_record_name_the_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    world = pushed(key_bundle(KEY, said()), key_bundle(STRANGER, said()))
    found = ScanFindings(world.services).of_candidate(world.candidate(GREEN).id)
    ((one,), (item,), (warned,)) = found.vex, found.items, found.warnings
    assert (item.outcome, "the VEX statement of acme" in item.covered_by) == ("vex", True)
    page = page_of(world, monkeypatch)
    assert f"sha256:{one.sha256[:12]}</code>, signed by {one.signer}" in page
    assert "1 attached attestation has no effect" in page
    printed = io.StringIO()
    Console(file=printed, width=300).print(show.findings(json.loads(msgspec.json.encode(found))))
    assert f"VEX document sha256:{one.sha256[:12]} signed by {one.signer}" in printed.getvalue()
    assert f"warning: {warned}" in printed.getvalue()
    used = UsedDocument(digest={"sha256": one.sha256}, signer=one.signer, signed_at=NOW)
    lines = list(_check_lines(Check(kind="scan", verdict="passed", vex=(used,)), {}))
    assert lines[-1] == f"    vex      sha256:{one.sha256} signed by {one.signer}, 2026-03-01 12:00:00 UTC"


# The rule.

SCOPE = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ContainerRegistry/registries"
RULES = f"""
registries:
  public: {{id: {SCOPE}/publicregistry}}
  base: {{id: {SCOPE}/contosobase}}
gates:
  node:
    source: {{registry: public, repository: node, tags: ["15-alpine"]}}
    checks:
      - scan: {{registry: base, task: scan-node, fail_on: [{{severity: high}}], vex: VEX}}
    promote: {{registry: base, repository: node}}
"""


def test_the_rule_is_written_on_the_scan_and_changes_what_it_judges_but_not_what_it_runs() -> None:
    (rule,) = parse_gates(RULES.replace("VEX", '{cosign: {key: "secret:vex"}}')).gates["node"].checks
    assert isinstance(rule, ScanCheck)
    assert rule.vex == VexRule(cosign=CosignTrust(key="secret:vex"))
    plain = replace(rule, vex=None)
    assert (rule.run_fingerprint, rule.fingerprint == plain.fingerprint) == (plain.run_fingerprint, False)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("{}", "the key 'cosign' is missing"),
        ("{cosign: {}}", "vex.cosign: a key, or keyless identities, are needed"),
        ('{cosign: {key: "x"}}', "vex.cosign.key: has no PEM block"),
        ("{notation: {}}", "unknown key; known keys: cosign"),
    ],
)
def test_a_rule_that_trusts_nobody_is_refused(written: str, problem: str) -> None:
    with pytest.raises(InvalidGates) as caught:
        parse_gates(RULES.replace("VEX", written))
    assert problem in str(caught.value)
