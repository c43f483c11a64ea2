"""Signatures of cosign: who signed, and why a signature does not count."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA384
from msgspec.structs import replace

from shared.domain.dsse import BUNDLE_TYPE
from shared.domain.errors import Malformed
from shared.domain.image import Digest, parse_digest
from shared.signatures.manifest import COSE, JWS
from shared.signatures.model import PAYLOAD_LIMIT_BYTES, Attached, SignatureResult
from shared.signatures.trust import CosignTrust, Keyless, Trust, matches
from shared.signatures.verify import require_usable, verify
from tests.fakes.sigstore import (
    ISSUER,
    NOW,
    SIGN,
    WORKFLOW,
    Signer,
    Sigstore,
    b64,
    bundle_layer,
    envelope,
    key_bundle,
    old_layer,
    pem,
    sign,
    simple_signing,
    statement,
)

IMAGE, OTHER = parse_digest("sha256:" + "1" * 64), parse_digest("sha256:" + "2" * 64)
KEYS: dict[str, Signer] = {
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "P-384": ec.generate_private_key(ec.SECP384R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
}
KEY, STRANGER = KEYS["P-256"], ec.generate_private_key(ec.SECP256R1())
HOUSE, IMPOSTOR = Sigstore(), Sigstore()
BY_KEY, KEYLESS = Trust(cosign=CosignTrust(key=pem(KEY))), Trust(cosign=HOUSE.trust())


def verified(*attached: Attached, trust: Trust = BY_KEY, subject: Digest = IMAGE) -> SignatureResult:
    return verify(subject, attached, trust, NOW)


def reason(one: Attached, trust: Trust = BY_KEY) -> str:
    """Why the only signature of the image does not count."""
    result = verified(one, trust=trust)
    assert result.signed is None
    (refused,) = result.refused
    assert refused.place == one.place
    return refused.reason


# By a key.


@pytest.mark.parametrize("kind", KEYS)
def test_a_signature_by_the_pinned_key_counts_in_both_schemes(kind: str) -> None:
    key, trust = KEYS[kind], Trust(cosign=CosignTrust(key=pem(KEYS[kind])))
    payload = simple_signing(IMAGE)
    for one in (old_layer(payload, sign(key, payload)), key_bundle(key, statement(IMAGE))):
        signed = verified(one, trust=trust).signed
        assert signed is not None
        assert (signed.kind, signed.by[:11], signed.at) == ("cosign key", "key sha256:", None)


def test_a_signature_by_an_rsa_key_counts() -> None:
    key = rsa.generate_private_key(65537, 2048)
    trust = Trust(cosign=CosignTrust(key=pem(key)))
    assert verified(key_bundle(key, statement(IMAGE)), trust=trust).signed


def test_a_p_384_key_may_hash_with_sha_384() -> None:
    key = KEYS["P-384"]
    trust = Trust(cosign=CosignTrust(key=pem(key)))
    assert verified(key_bundle(key, statement(IMAGE), SHA384()), trust=trust).signed


def test_a_p_256_key_hashes_with_sha_256_only() -> None:
    assert reason(key_bundle(KEY, statement(IMAGE), SHA384())) == "it is not by the key of the rule"


def test_the_reference_in_a_payload_is_not_believed_and_does_no_harm() -> None:
    payload = simple_signing(IMAGE, "evil.example/other")
    assert verified(old_layer(payload, sign(KEY, payload))).signed


PAYLOAD = simple_signing(IMAGE)
SIGNATURE = sign(KEY, PAYLOAD)


def _payload(**changes: Any) -> Attached:
    """A signed payload of the older scheme, with other claims."""
    document = json.loads(PAYLOAD)
    document["critical"] |= changes
    payload = json.dumps(document).encode()
    return old_layer(payload, sign(KEY, payload))


def _bundle(**changes: Any) -> Attached:
    document = {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": "h"}},
        "dsseEnvelope": envelope(KEY, statement(IMAGE)),
    }
    return bundle_layer(document | changes)


TWICE = {**envelope(KEY, statement(IMAGE)), "signatures": envelope(KEY, statement(IMAGE))["signatures"] * 2}
RETYPED = {**envelope(KEY, statement(IMAGE)), "payloadType": "application/json"}


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (old_layer(PAYLOAD, sign(STRANGER, PAYLOAD)), "it is not by the key of the rule"),
        (old_layer(PAYLOAD.replace(b"1" * 64, b"3" * 64), SIGNATURE), "it is not by the key of the rule"),
        (old_layer(PAYLOAD, b""), "the annotation dev.cosignproject.cosign/signature is empty or missing"),
        (
            replace(old_layer(PAYLOAD, b"x"), annotations={"dev.cosignproject.cosign/signature": "§"}),
            "the annotation dev.cosignproject.cosign/signature is not base64",
        ),
        (_payload(image={"docker-manifest-digest": OTHER}), f"it is for {OTHER}"),
        (_payload(image={}), "it is for no digest"),
        (_payload(type="a receipt"), "it is a 'a receipt', not a 'cosign container image signature'"),
        (old_layer(b"[" * 9999, sign(KEY, b"[" * 9999)), "the payload is not of its form"),
        (key_bundle(STRANGER, statement(IMAGE)), "it is not by the key of the rule"),
        (key_bundle(KEY, statement(OTHER)), f"it is for {OTHER}"),
        (key_bundle(KEY, statement(IMAGE, "https://slsa.dev/provenance/v1")), "it is an attestation (https://slsa.dev"),
        (
            key_bundle(KEY, json.dumps({"_type": "x", "predicateType": SIGN, "subject": []}).encode()),
            "'x' is no supported version of in-toto statements",
        ),
        (key_bundle(KEY, b'{"a": 1}'), "the statement is not of its form"),
        (_bundle(dsseEnvelope=None), "the bundle has no DSSE envelope with exactly one signature"),
        (_bundle(dsseEnvelope=TWICE), "the envelope has 2 signatures"),
        (_bundle(dsseEnvelope=RETYPED), "it is not by the key of the rule"),
        (
            _bundle(dsseEnvelope=envelope(KEY, statement(IMAGE), "application/json")),
            "its content is 'application/json', not an in-toto statement",
        ),
        (replace(_bundle(), payload=b"{}"), "the bundle is not of its form"),
        (replace(_bundle(), payload=b'{"a":' * 9999), "the bundle is not of its form"),
        (replace(_bundle(), payload=b"\xff"), "the bundle is not of its form"),
        (replace(_bundle(), payload=b" " * (PAYLOAD_LIMIT_BYTES + 1)), f"larger than {PAYLOAD_LIMIT_BYTES} bytes"),
        (replace(_bundle(), annotations={"a": "b" * 300_000}), "or with too long annotations"),
        (replace(_bundle(), problem="503 from\nthe registry"), "503 from"),
        (Attached(place="a", media_type="text/html"), "text/html is not a kind of signature"),
        (Attached(place="a", media_type=JWS), "a signature of Notation, and the rule trusts nobody who signs with"),
        (Attached(place="a", media_type=COSE), "a signature of Notation in a COSE envelope: only JWS is supported"),
    ],
)
def test_what_does_not_count_says_why(one: Attached, why: str) -> None:
    assert why in reason(one)


def test_a_signature_of_cosign_does_not_count_for_a_rule_that_trusts_notation() -> None:
    why = "a signature of cosign, and the rule trusts nobody who signs with that"
    assert reason(_bundle(), Trust()) == why


def test_the_first_valid_signature_is_told_with_what_was_refused_before_it() -> None:
    bad = Attached(place="bad", media_type="text/html")
    result = verified(bad, _bundle(), bad)
    assert result.signed is not None
    assert [one.place for one in result.refused] == ["bad"]


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "is not a public key in PEM"),
        (pem(ec.generate_private_key(ec.SECP521R1())), "is a secp521r1 key; supported are ECDSA P-256 and P-384"),
        (pem(rsa.generate_private_key(65537, 1024)), "supported are"),
        (pem(KEY) + pem(STRANGER), "has 2 PEM blocks, of which only the first would count: keep one key"),
        (f"{pem(KEY)}-----BEGIN CERTIFICATE-----", "has 2 PEM blocks"),
    ],
)
def test_a_key_that_cannot_be_used_is_an_error_of_the_rule(key: str, why: str) -> None:
    with pytest.raises(Malformed, match=why) as caught:
        require_usable(Trust(cosign=CosignTrust(key=key)), NOW)
    assert caught.value.field == "cosign.key"


# Keyless.


def test_a_keyless_signature_counts_in_both_schemes_and_says_by_whom_and_when() -> None:
    for one in (bundle_layer(HOUSE.bundle(statement(IMAGE))), HOUSE.old_signature(PAYLOAD)):
        signed = verified(one, trust=KEYLESS).signed
        assert signed is not None
        assert (signed.kind, signed.by) == ("cosign keyless", f"{WORKFLOW} (issuer {ISSUER})")
        assert signed.at == NOW + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("https://github.com/acme/*", WORKFLOW, True),
        ("*@refs/heads/main", WORKFLOW, False),
        ("https://github.com/*/.github/workflows/*@refs/heads/main", WORKFLOW, True),
        (WORKFLOW, WORKFLOW, True),
        ("https://github.com/acme/", WORKFLOW, False),
        ("https://github.com/evil/*", WORKFLOW, False),
        ("a*a", "a", False),
        ("a*b*c", "acb", False),
        ("*@acme.com", "eve@acme.com", True),
        ("*@acme.com", "eve@acme.com.evil.example", False),
        ("*@acme.com", "https://github.com/evil/x/.github/workflows/y.yml@refs/heads/x@acme.com", False),
        ("." * 30, WORKFLOW[:30], False),
        ("a*" * 500 + "b", "a" * 5000, False),
    ],
)
def test_a_star_stands_for_other_characters_and_a_url_fits_only_those_of_urls(
    pattern: str, text: str, *, fits: bool
) -> None:
    assert matches(pattern, text) is fits


AT_MAIN, NODE = "https://github.com/acme/*@refs/heads/main", "https://github.com/acme/node/.github/workflows"


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        # Names that git allows for a branch or a tag: https://git-scm.com/docs/git-check-ref-format
        (AT_MAIN, f"{NODE}/release.yml@refs/heads/x@refs/heads/main"),
        (AT_MAIN, f"{NODE}/release.yml@refs/tags/x@refs/heads/main"),
        (AT_MAIN, f"{NODE}/release.yml@refs/heads/@refs/heads/main"),
        (AT_MAIN, f"{NODE}/release.yml@refs/heads/refs/heads/main"),
        (AT_MAIN, f"{NODE}/release.yml@refs/heads/x%40refs/heads/main"),
        (AT_MAIN, f"{NODE}/release.yml@refs/heads/main@x"),
        (AT_MAIN, f"{NODE}/release.yml@refs/heads/main-x"),
        (AT_MAIN, f"{NODE}/release.yml@refs/tags/refs/heads/main"),
        (f"{NODE}/*.yml@refs/tags/v*", f"{NODE}/x.yml@refs/heads/x.yml@refs/tags/v1"),
        (f"{NODE}/release*@refs/heads/main", f"{NODE}/release.yml@refs/heads/x@refs/heads/main"),
        ("https://github.com/acme/*refs/heads/main", f"{NODE}/release.yml@refs/heads/x/refs/heads/main"),
        ("https://github.com/acme/*/release.yml*", f"{NODE}/evil.yml@refs/heads/x/release.yml"),
        (f"{NODE}/*.yml", f"{NODE}/evil.sh@refs/heads/x.yml"),
        # A workflow's file may have an @ in its name, and that of another service may be in folders with one.
        (f"{NODE}/*@refs*", f"{NODE}/x@refs.yml@refs/heads/x"),
        (AT_MAIN, f"{NODE}/x@refs/heads/main.yml@refs/heads/x"),
        ("https://gitlab.com/acme/*@refs/tags/*", "https://gitlab.com/acme/node//x@refs/tags/v1/ci.yml@refs/heads/x"),
        ("https://gitlab.com/acme/*@refs/tags/*.yml", "https://gitlab.com/acme/node//x@refs/tags/ci.yml@refs/heads/x"),
        # The owner's name elsewhere.
        (AT_MAIN, "https://github.com/evil/acme/.github/workflows/release.yml@refs/heads/main"),
        (AT_MAIN, "https://github.com/acme@refs/heads/main"),
        ("*@acme.example", "eve@evil.example@acme.example"),
    ],
)
def test_a_star_does_not_stand_for_an_at_sign_in_the_name_of_a_branch_or_a_file(pattern: str, text: str) -> None:
    assert not matches(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (AT_MAIN, f"{NODE}/release.yml@refs/heads/main"),
        ("https://github.com/acme/*", f"{NODE}/release.yml@refs/heads/x@y"),
        (f"{NODE}/release.yml@refs/heads/release/*", f"{NODE}/release.yml@refs/heads/release/1/2"),
        (f"{NODE}/release.yml@refs/tags/*@*", f"{NODE}/release.yml@refs/tags/node@1.0.0"),
        (f"{NODE}/release.yml@refs/tags/@acme/*@*", f"{NODE}/release.yml@refs/tags/@acme/node@1.0.0"),
        (f"{NODE}/a@b.yml@refs/heads/*", f"{NODE}/a@b.yml@refs/heads/main"),
        ("https://gitlab.com/acme/*//.gitlab-ci.yml@*", "https://gitlab.com/acme/a/b//.gitlab-ci.yml@refs/heads/main"),
    ],
)
def test_a_pattern_with_each_at_sign_of_an_identity_fits_it(pattern: str, text: str) -> None:
    assert matches(pattern, text)


def test_a_branch_that_is_named_like_another_workflow_on_main_is_not_trusted() -> None:
    trust = Trust(cosign=replace(HOUSE.trust(), keyless=(Keyless(identity=AT_MAIN, issuer=ISSUER),)))
    signed = [
        bundle_layer(HOUSE.bundle(statement(IMAGE), HOUSE.certificate(f"{NODE}/release.yml@refs/heads/{branch}")))
        for branch in ("main", "x@refs/heads/main")
    ]
    assert verified(signed[0], trust=trust).signed
    assert "x@refs/heads/main, issuer https://token.actions" in reason(signed[1], trust)


def test_one_of_several_identities_is_enough() -> None:
    several = (Keyless(identity="ada@acme.example", issuer="https://accounts.example"), *HOUSE.trust().keyless)
    trust = Trust(cosign=replace(HOUSE.trust(), keyless=several))
    assert verified(bundle_layer(HOUSE.bundle(statement(IMAGE))), trust=trust).signed
    mail = HOUSE.certificate("ada@acme.example", "https://accounts.example")
    signed = verified(bundle_layer(HOUSE.bundle(statement(IMAGE), mail)), trust=trust).signed
    assert signed is not None
    assert signed.by == "ada@acme.example (issuer https://accounts.example)"


def _entry(change: Callable[[dict[str, Any]], None]) -> Attached:
    """A keyless bundle whose entry of the log was changed."""
    document = HOUSE.bundle(statement(IMAGE))
    change(document["verificationMaterial"]["tlogEntries"][0])
    return bundle_layer(document)


def _without_entry() -> Attached:
    document = HOUSE.bundle(statement(IMAGE))
    document["verificationMaterial"]["tlogEntries"] = []
    return bundle_layer(document)


def _old(**changes: str) -> Attached:
    """A keyless signature of the older scheme with other annotations."""
    one = HOUSE.old_signature(PAYLOAD)
    named = {f"dev.sigstore.cosign/{name}": value for name, value in changes.items()}
    return replace(one, annotations={**one.annotations, **named})


def _old_entry(**changes: Any) -> Attached:
    entry = json.loads(HOUSE.old_signature(PAYLOAD).annotations["dev.sigstore.cosign/bundle"])
    entry["Payload"] |= changes
    return _old(bundle=json.dumps(entry))


LATER = Sigstore(HOUSE.fulcio, HOUSE.rekor, HOUSE.ct, HOUSE.leaf, NOW + timedelta(hours=1))


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (
            bundle_layer(HOUSE.bundle(statement(IMAGE), HOUSE.certificate("https://github.com/evil/x"))),
            "https://github.com/evil/x, issuer https://token.actions.githubusercontent.com, is not trusted",
        ),
        (
            bundle_layer(HOUSE.bundle(statement(IMAGE), HOUSE.certificate(WORKFLOW, "https://evil.example"))),
            "issuer https://evil.example, is not trusted",
        ),
        (bundle_layer(IMPOSTOR.bundle(statement(IMAGE))), "failed to build timestamp certificate chain"),
        (
            bundle_layer(HOUSE.bundle(statement(IMAGE), HOUSE.certificate(logged=False))),
            "failed to verify SCT on signing certificate",
        ),
        (
            bundle_layer(Sigstore(HOUSE.fulcio, HOUSE.rekor, IMPOSTOR.ct, HOUSE.leaf).bundle(statement(IMAGE))),
            "failed to verify SCT on signing certificate",
        ),
        (
            bundle_layer(Sigstore(HOUSE.fulcio, IMPOSTOR.rekor, HOUSE.ct, HOUSE.leaf).bundle(statement(IMAGE))),
            "invalid log entry",
        ),
        (
            bundle_layer(LATER.bundle(statement(IMAGE), HOUSE.certificate())),
            "failed to build timestamp certificate chain",
        ),
        (_without_entry(), "expected exactly one log entry in bundle"),
        (_entry(lambda entry: entry.pop("inclusionProof")), "failed to load bundle"),
        (_entry(lambda entry: entry.pop("inclusionPromise")), "must contain an inclusion promise or signed timestamp"),
        (_entry(lambda entry: entry.update(integratedTime="1772366520")), "SET: invalid inclusion promise"),
        (_entry(lambda entry: entry.update(canonicalizedBody=b64(b"{}"))), "invalid log entry"),
        (bundle_layer(HOUSE.bundle(statement(OTHER))), f"it is for {OTHER}"),
        (bundle_layer(HOUSE.bundle(statement(IMAGE, "https://slsa.dev/provenance/v1"))), "it is an attestation"),
        (key_bundle(KEY, statement(IMAGE)), "it was made with a key: the rule has none"),
        (IMPOSTOR.old_signature(PAYLOAD), "failed to build timestamp certificate chain"),
        (HOUSE.old_signature(simple_signing(OTHER)), f"it is for {OTHER}"),
        (replace(HOUSE.old_signature(PAYLOAD), payload=simple_signing(OTHER)), "Signature is invalid for input"),
        (_old(bundle=""), "it has no entry of a transparency log"),
        (_old(bundle="[]"), "cannot be parsed (ValidationError"),
        (_old(certificate="-----BEGIN CERTIFICATE-----"), "cannot be parsed (ValueError"),
        (_old(certificate=""), "it was made with a key: the rule has none"),
        (_old_entry(integratedTime=0), "has no promise of inclusion"),
        (_old_entry(integratedTime=int(NOW.timestamp()) + 120), "SET: invalid inclusion promise"),
        (_old_entry(logIndex=2**60), "cannot be parsed"),
        (_old_entry(logID="zz"), "cannot be parsed (ValueError"),
        (
            _old(bundle=HOUSE.old_signature(simple_signing(OTHER)).annotations["dev.sigstore.cosign/bundle"]),
            "transparency log entry is inconsistent with other materials",
        ),
        (
            HOUSE.old_signature(PAYLOAD, HOUSE.certificate("https://github.com/evil/x")),
            "https://github.com/evil/x, issuer https://token.actions.githubusercontent.com, is not trusted",
        ),
    ],
)
def test_what_is_not_by_a_trusted_identity_says_why(one: Attached, why: str) -> None:
    assert why in reason(one, KEYLESS)


def test_an_unsigned_bundle_with_a_right_looking_identity_does_not_count() -> None:
    document = HOUSE.bundle(statement(IMAGE))
    document["dsseEnvelope"] = envelope(STRANGER, statement(IMAGE))
    assert "DSSE: invalid signature" in reason(bundle_layer(document), KEYLESS)


def _changed(one: Attached, random: Random) -> Attached:
    """A signature with one character changed, in its payload or in an annotation."""
    texts = {"": one.payload.decode(), **one.annotations}
    name = random.choice([*texts])
    text = texts[name]
    place = random.randrange(len(text))
    texts[name] = text[:place] + random.choice('aZ0{}[]"\\,:=-\n\x00\u2014\U0001f511') + text[place + 1 :]
    return replace(one, payload=texts.pop("").encode(), annotations=texts)


@pytest.mark.parametrize("seed", range(3))
def test_a_changed_signature_never_raises_and_is_never_by_somebody_else(seed: int) -> None:
    random = Random(seed)
    for one in (bundle_layer(HOUSE.bundle(statement(IMAGE))), HOUSE.old_signature(PAYLOAD)):
        for _ in range(50):
            result = verified(_changed(one, random), trust=KEYLESS)
            assert result.signed is None or result.signed.by == f"{WORKFLOW} (issuer {ISSUER})"


def test_a_rule_may_have_a_key_and_identities() -> None:
    both = Trust(cosign=replace(HOUSE.trust(), key=pem(KEY)))
    for one in (_bundle(), bundle_layer(HOUSE.bundle(statement(IMAGE))), old_layer(PAYLOAD, SIGNATURE)):
        assert verified(one, trust=both).signed
    assert reason(key_bundle(STRANGER, statement(IMAGE)), both) == "it is not by the key of the rule"


def _root(part: str, **key: str) -> str:
    """The trusted root without a part, or with another key of its logs."""
    document = json.loads(HOUSE.trusted_root())
    document[part] = [one | {"publicKey": one["publicKey"] | key} for one in document[part]] if key else []
    return json.dumps(document)


@pytest.mark.parametrize(
    ("root", "why"),
    [
        ("{}", "validation errors"),
        ("[]", "validation error"),
        (HOUSE.trusted_root().replace("P256", "P257"), "validation errors"),
        (HOUSE.trusted_root().replace('"tlogs": [', '"x": ['), "validation errors"),
        (_root("certificateAuthorities"), "Fulcio certificates not found"),
        (_root("tlogs"), "no transparency log instances"),
        (_root("ctlogs"), "CTFE keys not found"),
        (_root("tlogs", rawBytes="AAAA"), "it has no usable key of a transparency log"),
        (_root("ctlogs", rawBytes="AAAA"), "it has no usable key of a log of certificates"),
        (_root("ctlogs", keyDetails="PKIX_ED25519"), "it has no usable key of a log of certificates"),
    ],
)
def test_a_trust_root_that_cannot_be_used_is_an_error_of_the_rule(root: str, why: str) -> None:
    with pytest.raises(Malformed, match=rf"is not a usable trusted root \(.*{why}") as caught:
        require_usable(Trust(cosign=replace(HOUSE.trust(), trust_root=root)), NOW)
    assert caught.value.field == "cosign.trust_root"


def test_usable_trust_is_no_error() -> None:
    require_usable(KEYLESS, NOW)
    require_usable(BY_KEY, NOW)
