"""Signatures of cosign: by a key, or keyless; of the older scheme, and in bundles.

Sources: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md,
https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
"""

import base64
import binascii
import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from shared.domain.dsse import BUNDLE_TYPE, IN_TOTO, Bundle, Envelope, pae
from shared.domain.errors import Malformed
from shared.domain.image import Digest
from shared.signatures.model import Attached, Signed, Unreadable, Unverified, decoded, plain
from shared.signatures.trust import CosignTrust, several_problem

if TYPE_CHECKING:
    from shared.signatures.keyless import KeylessExaminer, Signer

SIGNATURE, CERTIFICATE, REKOR_BUNDLE = (
    "dev.cosignproject.cosign/signature",
    "dev.sigstore.cosign/certificate",
    "dev.sigstore.cosign/bundle",
)
"""Annotations of a layer of the older scheme."""

SIMPLE_SIGNING_TYPE = "cosign container image signature"
STATEMENTS = ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1")
SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1"
"""What `cosign sign` states. Any other predicate is an attestation: it says something about the image (a failed scan,
for example), which is not to sign it.
"""


_RSA_BITS = 2048


class _Image(msgspec.Struct, rename="kebab"):
    docker_manifest_digest: str = ""


class _Critical(msgspec.Struct):
    type: str
    image: _Image


class _SimpleSigning(msgspec.Struct):
    critical: _Critical


class _Material(msgspec.Struct, rename="camel"):
    certificate: msgspec.Raw = msgspec.Raw()
    x509_certificate_chain: msgspec.Raw = msgspec.Raw()


class _Subject(msgspec.Struct):
    digest: dict[str, str]


class _Statement(msgspec.Struct, rename={"type_": "_type", "predicate_type": "predicateType"}):
    type_: str
    predicate_type: str
    subject: list[_Subject]
    predicate: msgspec.Raw = msgspec.Raw()


class _Claim(msgspec.Struct, rename="camel"):
    predicate_type: str = ""


class _Opened(NamedTuple):
    """The content of an envelope whose signature is valid, and by whom that is."""

    signed: Signed
    payload_type: str
    payload: bytes


class CosignExaminer:
    """Examines signatures of one digest.

    Raises:
        Malformed: the key, or the trust root, cannot be used.
    """

    def __init__(self, subject: Digest, trust: CosignTrust) -> None:
        self._subject = subject
        self._key = PinnedKey(trust.key) if trust.key else None
        self._keyless = _keyless_examiner(trust) if trust.keyless else None

    def simple_signing(self, one: Attached) -> Signed:
        """A signature of the older scheme.

        1. The layer has a signature.
        2. It is of the payload, by the pinned key, or by the key of a certificate that a pinned root vouches for.
        3. The payload is a signature of an image, and names this digest. Its `docker-reference` is not evaluated.
        """
        signature = _base64(one.annotations.get(SIGNATURE, ""), f"the annotation {SIGNATURE}")  # 1
        signed = self._signed_by_key(one, signature, one.payload)  # 2
        if signed is None:
            certificate, entry = one.annotations.get(CERTIFICATE, ""), one.annotations.get(REKOR_BUNDLE, "")
            keyless = self._keyless_for(has_certificate=bool(certificate))
            signed = _signed(one, keyless.promised(one.payload, signature, certificate, entry))
        critical = decoded(one.payload, _SimpleSigning, "the payload").critical  # 3
        if critical.type != SIMPLE_SIGNING_TYPE:
            raise Unverified(f"it is a {plain(critical.type)[:60]!r}, not a {SIMPLE_SIGNING_TYPE!r}")
        if critical.image.docker_manifest_digest != self._subject:
            raise Unverified(f"it is for {plain(critical.image.docker_manifest_digest)[:80] or 'no digest'}")
        return signed

    def bundle(self, one: Attached) -> Signed:
        """A bundle.

        1. It has a DSSE envelope with one signature.
        2. The envelope is signed by the pinned key, or by the key of a certificate that a pinned root vouches for.
        3. Its content is an in-toto statement that signs (no other attestation) this digest.
        """
        opened = self._of_bundle(one)  # 1, 2
        statement = self._statement(opened)  # 3
        if statement.predicate_type != SIGN_PREDICATE:
            raise Unverified(f"it is an attestation ({plain(statement.predicate_type)[:120]}), not a signature")
        self._require_subject(statement)
        return opened.signed

    def attestation(self, one: Attached, wanted: re.Pattern[str]) -> tuple[Signed, bytes]:
        """An attestation, with its predicate as JSON.

        1. It is a bundle with a DSSE envelope, or (the older scheme) the envelope itself, with one signature.
        2. It is signed by the pinned key, or by the key of a certificate that a pinned root vouches for.
        3. Its content is an in-toto statement about this digest, whose predicate is of a type that is wanted.

        Raises:
            Unverified: nobody who is trusted says such a thing of this digest there.
            Unreadable: somebody who is trusted has signed it, or may have, and what it says is not known.
        """
        opened = self._of_bundle(one) if one.media_type == BUNDLE_TYPE else self._of_envelope(one)  # 1, 2
        try:
            statement = self._statement(opened)  # 3
        except Unverified as error:
            raise Unreadable(f"{opened.signed.by} has signed it, and it cannot be read ({plain(error)})") from error
        if wanted.fullmatch(statement.predicate_type) is None:
            raise Unverified(f"its predicate is of the type {plain(statement.predicate_type)[:120]!r}")
        self._require_subject(statement)
        return opened.signed, bytes(statement.predicate)

    def _of_bundle(self, one: Attached) -> _Opened:
        bundle = decoded(one.payload, Bundle[_Material], "the bundle")
        envelope, material = bundle.dsse_envelope, bundle.verification_material
        if envelope is None:
            raise Unverified("the bundle has no DSSE envelope with exactly one signature")
        _require_one_signature(envelope)
        if (opened := self._opened_by_key(one, envelope)) is not None:
            return opened
        has_certificate = bool(bytes(material.certificate) or bytes(material.x509_certificate_chain))
        signer, payload_type, payload = self._keyless_for(has_certificate=has_certificate).bundle(one.payload)
        return _Opened(_signed(one, signer), payload_type, payload)

    def _of_envelope(self, one: Attached) -> _Opened:
        envelope = decoded(one.payload, Envelope, "the envelope")
        _require_one_signature(envelope)
        if (opened := self._opened_by_key(one, envelope)) is not None:
            return opened
        certificate, entry = one.annotations.get(CERTIFICATE, ""), one.annotations.get(REKOR_BUNDLE, "")
        keyless = self._keyless_for(has_certificate=bool(certificate))
        signer, payload_type, payload = keyless.promised_envelope(one.payload, certificate, entry)
        return _Opened(_signed(one, signer), payload_type, payload)

    def _opened_by_key(self, one: Attached, envelope: Envelope) -> _Opened | None:
        """The content of an envelope with one signature; None if that is not by the pinned key."""
        payload, kind = _base64(envelope.payload, "the payload"), envelope.payload_type
        signature = _base64(envelope.signatures[0].sig, "the signature")
        signed = self._signed_by_key(one, signature, pae(payload, kind))
        return None if signed is None else _Opened(signed, kind, payload)

    def _signed_by_key(self, one: Attached, signature: bytes, message: bytes) -> Signed | None:
        if self._key is None or not self._key.has_signed(signature, message):
            return None
        return Signed(place=one.place, kind="cosign key", by=self._key.name)

    def _keyless_for(self, *, has_certificate: bool) -> "KeylessExaminer":
        """What examines a keyless signature, for one that is not by the key."""
        if self._keyless is not None and has_certificate:
            return self._keyless
        raise Unverified(
            "it is not by the key of the rule" if self._key else "it was made with a key: the rule has none"
        )

    def _statement(self, opened: _Opened) -> _Statement:
        if opened.payload_type != IN_TOTO:
            raise Unverified(f"its content is {plain(opened.payload_type)[:80]!r}, not an in-toto statement")
        statement = decoded(opened.payload, _Statement, "the statement")
        if statement.type_ not in STATEMENTS:
            raise Unverified(f"{plain(statement.type_)[:80]!r} is no supported version of in-toto statements")
        return statement

    def _require_subject(self, statement: _Statement) -> None:
        digests = [one.digest.get("sha256", "") for one in statement.subject]
        if self._subject.removeprefix("sha256:") not in digests:
            raise Unverified(f"it is for sha256:{plain(next(iter(digests), 'none'))[:64]}")


def claims(one: Attached, wanted: re.Pattern[str]) -> bool:
    """Whether an attestation says of itself that its predicate is of a type that is wanted, or has a statement that
    cannot be read; nothing of it is verified.

    Raises:
        Unverified: it is not of its form, so nobody has signed it.
    """
    if one.media_type == BUNDLE_TYPE:
        envelope = decoded(one.payload, Bundle[msgspec.Raw], "the bundle").dsse_envelope
    else:
        envelope = decoded(one.payload, Envelope, "the envelope")
    if envelope is None or envelope.payload_type != IN_TOTO:
        return False
    payload = _base64(envelope.payload, "the payload")
    try:
        claim = decoded(payload, _Claim, "the statement")
    except Unverified:
        return True
    return wanted.fullmatch(claim.predicate_type) is not None


def _keyless_examiner(trust: CosignTrust) -> "KeylessExaminer":
    from shared.signatures.keyless import KeylessExaminer  # sigstore-python is needed for this alone

    return KeylessExaminer(trust)


class PinnedKey:
    """A public key: ECDSA with P-256 or P-384, Ed25519, or RSA (PKCS #1 v1.5, as cosign signs) of 2048 bits or more.

    Raises:
        Malformed: the text is not such a key, or not one alone.
    """

    def __init__(self, pem: str) -> None:
        if problem := several_problem(pem):
            raise Malformed("cosign.key", problem)
        try:
            key = load_pem_public_key(pem.encode())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise Malformed("cosign.key", "is not a public key in PEM") from error
        if not _is_supported(key):
            kind = f"{key.curve.name} key" if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__
            supported = f"ECDSA P-256 and P-384, Ed25519, and RSA of {_RSA_BITS} bits or more"
            raise Malformed("cosign.key", f"is a {kind.strip('_')}; supported are {supported}")
        self._key = key
        form = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.name = f"key sha256:{hashlib.sha256(form).hexdigest()[:16]}"

    def has_signed(self, signature: bytes, message: bytes) -> bool:
        """Whether a signature of a message is by this key.

        With P-384, cosign's versions hash with SHA-256 or SHA-384: either counts.
        """
        key = self._key
        try:
            if isinstance(key, rsa.RSAPublicKey):
                key.verify(signature, message, padding.PKCS1v15(), SHA256())
            elif isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(signature, message)
            elif isinstance(key, ec.EllipticCurvePublicKey):
                return any(_has_signed(key, signature, message, hashed) for hashed in (SHA256(), SHA384()))
        except InvalidSignature:
            return False
        return True


def _has_signed(key: ec.EllipticCurvePublicKey, signature: bytes, message: bytes, hashed: SHA256 | SHA384) -> bool:
    if isinstance(hashed, SHA384) and key.curve.name != "secp384r1":
        return False
    try:
        key.verify(signature, message, ec.ECDSA(hashed))
    except InvalidSignature:
        return False
    return True


def _is_supported(key: object) -> bool:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name in ("secp256r1", "secp384r1")
    return isinstance(key, ed25519.Ed25519PublicKey) or (
        isinstance(key, rsa.RSAPublicKey) and key.key_size >= _RSA_BITS
    )


def _signed(one: Attached, signer: "Signer") -> Signed:
    return Signed(place=one.place, kind="cosign keyless", by=signer.name, at=signer.at)


def _require_one_signature(envelope: Envelope) -> None:
    """Several are not examined: whose they are is not known."""
    number = len(envelope.signatures)
    if number > 1:
        raise Unreadable(f"the envelope has {number} signatures, and one of them may be trusted: only one is supported")
    if not number:
        raise Unverified("the envelope has no signature")


def _base64(text: str, what: str) -> bytes:
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unverified(f"{what} is not base64") from error
    if not decoded:
        raise Unverified(f"{what} is empty or missing")
    return decoded
