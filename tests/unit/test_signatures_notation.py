"""Signatures of Notation: who signed, and why a signature does not count."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA3_256, SHA224
from cryptography.x509.oid import ExtendedKeyUsageOID
from msgspec.structs import replace

from shared.domain.errors import Malformed
from shared.domain.image import parse_digest
from shared.signatures.model import Attached, SignatureResult
from shared.signatures.trust import NotationTrust, Trust, identity_problem
from shared.signatures.verify import require_usable, verify
from tests.fakes.notary import AUTHORITY, IDENTITY, SUBJECT, Certificate, Notary, an_authority, name
from tests.fakes.sigstore import NOW

IMAGE, OTHER = parse_digest("sha256:" + "1" * 64), parse_digest("sha256:" + "2" * 64)
NOTARY, IMPOSTOR = Notary(), Notary()


def verified(one: Attached, *identities: str, by: Notary = NOTARY) -> SignatureResult:
    return verify(IMAGE, [one], Trust(notation=by.trust(*identities)), NOW, subject_size=100)


def reason(one: Attached, *identities: str) -> str:
    """Why the only signature of the image does not count."""
    result = verified(one, *identities)
    assert result.signed is None
    (refused,) = result.refused
    return refused.reason


def test_a_signature_under_a_pinned_root_counts_and_says_by_whom_and_when() -> None:
    signed = verified(NOTARY.sign(IMAGE)).signed
    assert signed is not None
    assert (signed.kind, signed.by) == ("Notation", "CN=release,O=acme,ST=WA,C=US")
    assert signed.at == NOW - timedelta(days=1)


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)], ids=["ES384", "PS256"]
)
def test_the_algorithm_is_that_of_the_key(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    notary = Notary(key=key)
    assert verified(notary.sign(IMAGE), by=notary).signed
    wrong = verified(notary.sign(IMAGE, headers={"alg": "ES256"}), by=notary).refused[0]
    assert "its algorithm is 'ES256', and its key calls for" in wrong.reason


def test_a_certificate_may_be_its_own_root() -> None:
    alone = Certificate(subject=SUBJECT).issued(NOTARY.key, name(SUBJECT), NOTARY.key)
    notary = Notary(key=NOTARY.key)
    notary.root = alone
    assert verified(notary.sign(IMAGE, [alone]), by=notary).signed


def test_an_unknown_size_is_not_compared() -> None:
    signed = NOTARY.sign(IMAGE, size=7)
    assert verify(IMAGE, [signed], Trust(notation=NOTARY.trust()), NOW).signed
    assert reason(signed) == "it says that the manifest has 7 bytes, and it has 100"


@pytest.mark.parametrize(
    ("identity", "fits"),
    [
        ("*", True),
        ("x509.subject: C=US, ST=WA, O=acme, CN=release", True),
        ("x509.subject: C=US, S=WA, O=acme", True),
        ("x509.subject: O=acme,C=US,ST=WA", True),
        ("x509.subject: C=US, ST=WA, O=evil", False),
        ("x509.subject: C=US, ST=WA, O=acme, CN=Release", False),
        ("x509.subject: C=US, ST=WA, O=acme, OU=security", False),
    ],
)
def test_an_identity_names_some_attributes_of_the_signer(identity: str, *, fits: bool) -> None:
    result = verified(NOTARY.sign(IMAGE), identity)
    assert (result.signed is not None) is fits
    if not fits:
        assert result.refused[0].reason == "its signer CN=release,O=acme,ST=WA,C=US is not trusted"


def test_one_of_several_identities_is_enough() -> None:
    assert verified(NOTARY.sign(IMAGE), "x509.subject: C=DE, ST=BE, O=other", IDENTITY).signed


def _authority(**changes: object) -> Attached:
    """A signature whose authority in the middle is not as it should be."""
    middle = an_authority("middle", **changes).issued(NOTARY.middle_key, NOTARY.root.subject, NOTARY.root_key)
    return NOTARY.sign(IMAGE, [NOTARY.leaf(), middle, NOTARY.root])


def _leaf(**changes: object) -> Attached:
    return NOTARY.sign(IMAGE, NOTARY.chain(**changes))


NAMES = x509.NameConstraints([x509.DNSName("acme.example")], None)
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")


EXPIRED = {
    "crit": ["io.cncf.notary.signingScheme", "io.cncf.notary.expiry"],
    "io.cncf.notary.expiry": NOW.isoformat(),
}


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (NOTARY.sign(OTHER), f"it is for {OTHER}"),
        (IMPOSTOR.sign(IMAGE), "its root CN=root,O=acme is not one of the rule's"),
        (NOTARY.sign(IMAGE, IMPOSTOR.chain()), "its signature is not by the key of its first certificate"),
        (NOTARY.sign(IMAGE, envelope={"signature": "AAAA"}), "its signature has 3 bytes, not 64"),
        (NOTARY.sign(IMAGE, envelope={"signature": "="}), "a part of the envelope is not base64url"),
        (NOTARY.sign(IMAGE, envelope={"payload": "e30"}), "its signature is not by the key of its first certificate"),
        (NOTARY.sign(IMAGE, envelope={"signatures": []}), "the envelope is not of its form"),
        (NOTARY.sign(IMAGE, envelope={"header": {"x5c": []}}), "it has 0 certificates: 1 to 10 are supported"),
        (NOTARY.sign(IMAGE, envelope={"header": {"x5c": ["AAAA"] * 11}}), "it has 11 certificates"),
        (NOTARY.sign(IMAGE, envelope={"header": {"x5c": ["AAAA"]}}), "a certificate cannot be parsed"),
        (NOTARY.sign(IMAGE, payload={"targetArtifact": 1}), "the payload is not of its form"),
        (replace(NOTARY.sign(IMAGE), payload=b"[" * 9999), "the envelope is not of its form"),
        (NOTARY.sign(IMAGE, headers={"alg": "none"}), "its algorithm is 'none', and its key calls for ES256"),
        (NOTARY.sign(IMAGE, headers={"alg": "HS256"}), "its algorithm is 'HS256', and its key calls for ES256"),
        (NOTARY.sign(IMAGE, headers={"cty": "text/plain"}), "its content type is 'text/plain'"),
        (
            NOTARY.sign(IMAGE, headers={"io.cncf.notary.signingScheme": "notary.x509.signingAuthority"}),
            "only notary.x509 is supported",
        ),
        (NOTARY.sign(IMAGE, headers={"crit": ["x"]}), "its critical headers are x"),
        (NOTARY.sign(IMAGE, headers={"crit": []}), "its critical headers are"),
        (NOTARY.sign(IMAGE, headers={"io.cncf.notary.verificationPlugin": "p"}), "it calls for a plugin of Notation"),
        (NOTARY.sign(IMAGE, headers={"io.cncf.notary.signingTime": None}), "it has no signing time"),
        (NOTARY.sign(IMAGE, headers={"io.cncf.notary.authenticSigningTime": "x"}), "or one that notary.x509 does not"),
        (NOTARY.sign(IMAGE, headers={"io.cncf.notary.signingTime": "soon"}), "the protected header is not of its form"),
        (NOTARY.sign(IMAGE, headers={"io.cncf.notary.expiry": NOW.isoformat()}), "its critical headers are"),
        (NOTARY.sign(IMAGE, headers=EXPIRED), "it has expired at 2026-03-01 12:00:00"),
        (NOTARY.sign(IMAGE, [NOTARY.leaf(), NOTARY.root]), "the chain is broken"),
        (NOTARY.sign(IMAGE, [NOTARY.leaf(), NOTARY.root, NOTARY.middle]), "the chain is broken"),
        (NOTARY.sign(IMAGE, [NOTARY.leaf(), NOTARY.middle]), "the chain is broken"),
        (NOTARY.sign(IMAGE, [NOTARY.leaf(), NOTARY.middle, IMPOSTOR.root]), "the chain is broken"),
        (_leaf(ends=NOW - timedelta(hours=1)), "is valid from 2026-01-30 to 2026-03-01, not now"),
        (_leaf(begins=NOW - timedelta(hours=1)), "not when the signature was made"),
        (_leaf(authority=True), "is a certificate authority, not for signing images"),
        (_leaf(usage=(0, 2)), "is for more than digital signatures (key usage)"),
        (_leaf(usage=AUTHORITY), "is not for digital signatures (key usage)"),
        (_leaf(usage=()), "is not for digital signatures (key usage)"),
        (_leaf(usage_critical=False), "is not for digital signatures (key usage)"),
        (_leaf(purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)), "is not for signing code (extended key usage)"),
        (_authority(authority=False), "is no certificate authority (basic constraints)"),
        (_authority(authority=None), "is no certificate authority (basic constraints)"),
        (_authority(usage=(0,)), "is not for signing certificates (key usage)"),
        (_authority(ends=NOW - timedelta(hours=1)), "CN=middle,O=acme is valid from"),
        (
            _authority(further=((NAMES, True),)),
            "CN=middle,O=acme has the critical extension 2.5.29.30, which is not evaluated here",
        ),
        (_authority(further=((NAMES, False),)), "CN=middle,O=acme limits the names below it, which is not evaluated"),
        (_leaf(further=((UNKNOWN, True),)), "has the critical extension 1.3.6.1.4.1.99999.1, which is not evaluated"),
        (_authority(hashed=SHA224()), "CN=middle,O=acme is signed with 1.2.840.10045.4.3.1, not with RSA or ECDSA"),
        (_leaf(hashed=SHA224()), "CN=release,O=acme,ST=WA,C=US is signed with 1.2.840.10045.4.3.1"),
        (_leaf(hashed=SHA3_256()), "CN=release,O=acme,ST=WA,C=US is signed with 2.16.840.1.101.3.4.3.10"),
    ],
)
def test_what_does_not_count_says_why(one: Attached, why: str) -> None:
    assert why in reason(one)


def test_an_extension_that_is_not_critical_does_no_harm() -> None:
    assert verified(_leaf(further=((UNKNOWN, False),))).signed


def test_a_chain_of_rsa_counts() -> None:
    notary = Notary(*(rsa.generate_private_key(65537, 2048) for _ in range(3)))
    assert verified(notary.sign(IMAGE), by=notary).signed


def test_an_authority_that_allows_none_below_it_has_none_below_it() -> None:
    notary = Notary()
    notary.root = an_authority("root", path_length=0).issued(notary.root_key, notary.root.subject, notary.root_key)
    refused = verified(notary.sign(IMAGE), by=notary).refused[0]
    assert refused.reason == "CN=root,O=acme allows 0 authorities below it, and there are 1"


def test_two_values_of_one_attribute_are_nobodys_identity() -> None:
    twice = NOTARY.leaf(subject=[*SUBJECT.items(), ("O", "evil")])
    assert (
        reason(NOTARY.sign(IMAGE, [twice, NOTARY.middle, NOTARY.root]))
        == "its signer O=evil,CN=release,O=acme,ST=WA,C=US is not trusted"
    )


def test_roots_that_cannot_be_used_are_an_error_of_the_rule() -> None:
    trust = Trust(notation=NotationTrust(certificates="no certificate", identities=("*",)))
    with pytest.raises(Malformed, match="has no certificates in PEM") as caught:
        require_usable(trust, NOW)
    assert caught.value.field == "notation.certificates"


@pytest.mark.parametrize("identity", ["x509.subject:", "x509.subject: C=US, ST=WA, O", "C=US, ST=WA, O=acme", ""])
def test_an_identity_that_cannot_be_parsed_trusts_nobody(identity: str) -> None:
    with pytest.raises(Malformed, match=r"is not a list of attributes|is neither"):
        require_usable(Trust(notation=NOTARY.trust(identity)), NOW)


def test_an_attribute_that_no_certificate_has_is_an_error_of_the_rule() -> None:
    with pytest.raises(Malformed, match="has an attribute that is none of C, ST") as caught:
        require_usable(Trust(notation=NOTARY.trust(IDENTITY, f"{IDENTITY}, X=1")), NOW)
    assert caught.value.field == "notation.identities.1"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (IDENTITY, ""),
        ("*", ""),
        (r"x509.subject: C=US, ST=WA, O=acme\, inc., CN=a\;b\\c", ""),
        ("C=US, ST=WA, O=acme", "is neither * nor x509.subject:"),
        ("x509.subject:", "is not a list of attributes"),
        ("x509.subject: C=US, ST=WA, O", "is not a list of attributes"),
        ("x509.subject: C=US, ST=WA, O=a, O=b", "is not a list of attributes"),
        ("x509.subject: C=US, O=acme", "needs the attributes C, ST and O at least"),
    ],
)
def test_an_identity_has_its_form(text: str, why: str) -> None:
    assert identity_problem(text).startswith(why) if why else not identity_problem(text)


def test_any_identity_stands_alone() -> None:
    assert identity_problem("*", alone=False) == "* allows any identity: it must stand alone"
