"""Decision records: their bytes, their signatures, and what a changed one proves."""

from __future__ import annotations

import hashlib
import json
import tomllib
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec.structs import replace
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]
from sigstore_models.bundle.v1 import Bundle

from shared import VERSION
from shared.attestation.envelope import Unproven, bundle, key_id, load_keys, payload_of
from shared.attestation.proof import proof
from shared.attestation.statement import (
    DECISION_TYPE,
    STATEMENT_TYPE,
    SUMMARY_TYPE,
    CheckFacts,
    Facts,
    Scanner,
    UsedException,
    Verifier,
    evidence_of,
    rules_digest,
    statements,
)
from shared.checks.approval import ApprovalCheck
from shared.domain.candidate import Candidate, CandidateState, FoundBy, Verdict, new_attempt
from shared.domain.dsse import BUNDLE_TYPE, pae
from shared.domain.image import ImageRef, Tag, parse_repository
from shared.domain.promotion import Promotion, new_promotion
from shared.settings import APP_ROOT
from tests.fakes import START, digest, sample_policy

GREEN, RED = digest("green"), digest("red")
POLICY = sample_policy()
GATE = POLICY.gates["node"]
TARGET = ImageRef("contosobaseartifacts.azurecr.io", parse_repository("node"), GREEN)
KEY = ec.generate_private_key(ec.SECP256R1())
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
NOW = START + timedelta(minutes=5, microseconds=123_456)


def candidate() -> Candidate:
    made = new_attempt(GATE, POLICY.registries["public"], GREEN, Tag("15-alpine"), START)
    made = replace(made, found_by=FoundBy.OPERATOR, requested_by="ann").noting(START, "admitted", "first attempt")
    made = made.with_check(0, run_id="cb4", registry="contosobaseartifacts.azurecr.io", runs=1, claimed_at=START)
    made = made.with_check(0, verdict=Verdict.PASSED, reason="the run succeeded", started_at=START, finished_at=NOW)
    return made.noting(NOW, "approved", "bob: looks fine").ended(NOW, CandidateState.PASSED, "all passed")


def promotion() -> Promotion:
    made = new_promotion(GATE, POLICY.registries["public"], Tag("15-alpine"), GREEN, 7, START)
    return replace(made.based_on(candidate(), NOW), unique="15-alpine-cb4", copied_at=NOW, moved_at=NOW, move=3)


def facts(**changes: Any) -> Facts:
    verifier = Verifier(id="https://basegate.example", version={"basegate": "0.1.0"})
    usual = Facts(target=TARGET, verifier=verifier, policy_uri="urn:basegate:gate:node", rules=rules_digest(GATE))
    return replace(usual, **changes)


def signed(statement: bytes) -> bytes:
    hashed = hashlib.sha256(pae(statement)).digest()
    return bundle(statement, KEY.sign(hashed, ec.ECDSA(Prehashed(SHA256()))), key_id(PEM))


def bundles(**changes: Any) -> dict[str, bytes]:
    made = statements(promotion(), candidate(), facts(**changes))
    return {kind: signed(statement) for kind, statement in made.items()}


def test_the_bytes_of_a_statement_depend_on_its_facts_alone() -> None:
    first, again = (statements(promotion(), candidate(), facts()) for _ in range(2))
    assert first == again
    assert first != statements(promotion(), candidate(), facts(rules=""))


def test_a_statement_is_about_the_promoted_digest_in_the_target_repository() -> None:
    for kind, statement in statements(promotion(), candidate(), facts()).items():
        content = json.loads(statement)
        assert content["_type"] == STATEMENT_TYPE
        assert content["predicateType"] == kind
        assert content["subject"] == [
            {"name": "contosobaseartifacts.azurecr.io/node", "digest": {"sha256": GREEN.removeprefix("sha256:")}}
        ]


def test_the_summary_has_every_required_field_of_its_specification() -> None:
    summary = json.loads(statements(promotion(), candidate(), facts())[SUMMARY_TYPE])["predicate"]
    assert summary == {
        "verifier": {"id": "https://basegate.example", "version": {"basegate": "0.1.0"}},
        "timeVerified": NOW.replace(microsecond=0).isoformat().replace("+00:00", "Z"),
        "resourceUri": f"pkg:oci/node@{GREEN.replace(':', '%3A')}"
        "?repository_url=contosobaseartifacts.azurecr.io/node&tag=15-alpine",
        "policy": {"uri": "urn:basegate:gate:node", "digest": {"sha256": rules_digest(GATE)}},
        "verificationResult": "PASSED",
        "verifiedLevels": ["SLSA_BUILD_LEVEL_UNEVALUATED", "BASEGATE-CHECK-TASK"],
    }


def test_the_decision_names_who_what_when_and_on_what_evidence() -> None:
    scanner = Scanner(
        name="trivy",
        version="0.70.0",
        database_built_at=START,
        platform="linux/amd64",
        unscanned=("linux/arm64",),
    )
    used = UsedException(vulnerability="CVE-2026-1", package="openssl", justification="not used", author="ann")
    log = evidence_of("log", "basegate-evidence/a.txt", b"a log")
    made = facts(checks={0: CheckFacts(evidence=(log,), scanner=scanner, exceptions=(used,), more_exceptions=5)})
    decision = json.loads(statements(promotion(), candidate(), made)[DECISION_TYPE])["predicate"]
    (check,) = decision["checks"]
    assert check["run"] == {"registry": "contosobaseartifacts.azurecr.io", "id": "cb4"}
    assert check["scanner"]["name"] == "trivy"
    assert (check["scanner"]["platform"], check["scanner"]["unscanned"]) == ("linux/amd64", ["linux/arm64"])
    assert check["exceptions"] == [
        {"vulnerability": "CVE-2026-1", "package": "openssl", "justification": "not used", "author": "ann"}
    ]
    assert check["moreExceptions"] == 5
    assert check["evidence"][0]["digest"] == {"sha256": hashlib.sha256(b"a log").hexdigest()}
    assert decision["actors"] == {
        "foundBy": "operator", "requestedBy": "ann", "approved": ["bob: looks fine"]
    }  # fmt: skip
    assert decision["fingerprint"] == GATE.fingerprint
    assert decision["source"] == f"publicregistry.azurecr.io/node@{GREEN}"
    assert decision["times"]["promotedAt"] == decision["times"]["passedAt"]


def test_the_hash_of_the_rules_changes_with_the_checks_of_the_gate_alone() -> None:
    assert rules_digest(GATE) == rules_digest(replace(GATE, drift="report"))
    assert rules_digest(GATE) != rules_digest(replace(GATE, checks=(*GATE.checks, ApprovalCheck())))


def test_what_is_signed_is_the_published_encoding_of_dsse() -> None:
    """The test vector of https://github.com/secure-systems-lab/dsse/blob/master/protocol.md."""
    signed_text = pae(b"hello world", "http://example.com/HelloWorld")
    assert signed_text == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_securesystemslib_verifies_the_envelope_and_refuses_a_changed_one() -> None:
    envelope = json.loads(bundles()[DECISION_TYPE])["dsseEnvelope"]
    key = SSlibKey.from_crypto(KEY.public_key())
    envelope["signatures"][0]["keyid"] = key.keyid
    changed = json.loads(json.dumps(envelope))
    assert Envelope.from_dict(envelope).verify([key], 1) == {key.keyid: key}
    changed["payload"] = b64encode(b64decode(changed["payload"]).replace(b"passed", b"failed")).decode()
    with pytest.raises(VerificationError):
        Envelope.from_dict(changed).verify([key], 1)


def test_the_bundle_is_one_by_the_model_of_sigstore() -> None:
    for made in bundles().values():
        parsed = Bundle.from_json(made)
        assert parsed.media_type == BUNDLE_TYPE
        assert parsed.verification_material.public_key is not None
        assert parsed.verification_material.public_key.hint == key_id(PEM)
        assert parsed.verification_material.tlog_entries == []
        assert parsed.dsse_envelope is not None
        assert parsed.dsse_envelope.payload_type == "application/vnd.in-toto+json"


def test_a_record_proves_what_was_decided_to_whoever_has_the_key() -> None:
    made = bundles()
    detail = proof(made[DECISION_TYPE], load_keys(PEM), GREEN)
    assert detail.decision is not None
    assert (detail.decision.gate, detail.decision.verdict) == ("node", "passed")
    assert detail.decision.actors.requested_by == "ann"
    assert detail.key_id == key_id(PEM)
    short = proof(made[SUMMARY_TYPE], load_keys(PEM), GREEN)
    assert short.summary is not None
    assert short.summary.verifier.id == "https://basegate.example"
    assert payload_of(made[SUMMARY_TYPE]) == statements(promotion(), candidate(), facts())[SUMMARY_TYPE]


def test_a_bundle_with_one_changed_byte_proves_what_was_signed_or_nothing() -> None:
    """Only the hint, which nobody trusts, and the unused bits of base64 can change without a difference."""
    made, keys, refused = bundles()[SUMMARY_TYPE], load_keys(PEM), 0
    for place in range(0, len(made), 7):
        changed = made[:place] + bytes([made[place] ^ 1]) + made[place + 1 :]
        try:
            assert proof(changed, keys, GREEN).key_id == key_id(PEM)
            assert payload_of(changed) == payload_of(made)
        except Unproven:
            refused += 1
    assert refused > 0.9 * len(made) / 7


def test_another_key_another_digest_and_another_verdict_prove_nothing() -> None:
    made = bundles()[DECISION_TYPE]
    other = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    with pytest.raises(Unproven, match="none of the given keys"):
        proof(made, load_keys(other), GREEN)
    assert proof(made, load_keys(other + PEM), GREEN).key_id == key_id(PEM)
    with pytest.raises(Unproven, match="about another image: contosobaseartifacts"):
        proof(made, load_keys(PEM), RED)
    failed = payload_of(made).replace(b'"verdict":"passed"}', b'"verdict":"failed"}')
    failed = failed.replace(b'"verdict":"passed"', b'"verdict":"failed"')
    with pytest.raises(Unproven, match="did not pass: 'failed'"):
        proof(signed(failed), load_keys(PEM), GREEN)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no sigstore bundle"),
        (b"[" * 5000, "no sigstore bundle"),
        (b'{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{}}', "DSSE envelope"),
        (b"\xff\xfe", "no sigstore bundle"),
    ],
)
def test_what_is_no_bundle_is_refused_with_a_sentence(content: bytes, why: str) -> None:
    with pytest.raises(Unproven, match=why):
        proof(content, load_keys(PEM), GREEN)


def test_a_signed_text_that_is_no_statement_proves_nothing() -> None:
    for text in (b"hello", b"{}", b'{"_type":"x","subject":[],"predicateType":"y","predicate":{}}'):
        with pytest.raises(Unproven, match="no in-toto statement"):
            proof(signed(text), load_keys(PEM), GREEN)


def test_a_key_of_another_type_is_refused_by_name() -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    with pytest.raises(Unproven, match="EC key over P-256"):
        load_keys(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(Unproven, match="no public key"):
        load_keys(b"nothing")
    with pytest.raises(Unproven, match="cannot be read"):
        load_keys(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")


def test_the_version_in_a_record_is_that_of_the_command_line() -> None:
    project = tomllib.loads((APP_ROOT / "basegate_cli/pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] == VERSION


def test_times_are_in_utc_to_the_second() -> None:
    summary = json.loads(statements(promotion(), candidate(), facts())[SUMMARY_TYPE])["predicate"]
    assert datetime.fromisoformat(summary["timeVerified"]).tzinfo == UTC
