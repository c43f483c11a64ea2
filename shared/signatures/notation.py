"""Signatures of Notation in JWS envelopes, by the specification of the Notary Project at its level `strict`.

Not evaluated: revocation lists and OCSP (nothing is fetched), and timestamp countersignatures, so that a signature ends
with the first certificate of its chain that expires.

Sources: https://github.com/notaryproject/specifications/blob/main/specs/signature-specification.md,
https://github.com/notaryproject/specifications/blob/main/specs/signature-envelope-jws.md and
https://github.com/notaryproject/specifications/blob/main/specs/trust-store-trust-policy.md#signature-verification
"""

import base64
import binascii
from collections.abc import Iterator
from datetime import datetime
from itertools import chain as chained
from typing import Annotated, Any, TypeVar

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID, SignatureAlgorithmOID
from msgspec import Meta

from shared.domain.errors import Malformed
from shared.domain.image import Digest
from shared.signatures.model import Attached, Signed, Unverified, decoded, plain
from shared.signatures.trust import ATTRIBUTES, NotationTrust, identity_problem, parse_subject

Time = Annotated[datetime, Meta(tz=True)]

PAYLOAD_TYPE = "application/vnd.cncf.notary.payload.v1+json"
SCHEME, EXPIRY = "io.cncf.notary.signingScheme", "io.cncf.notary.expiry"
_CHAIN_LIMIT = 10
_ALGORITHMS: dict[str, tuple[str, HashAlgorithm]] = {
    "RSA 2048": ("PS256", SHA256()),
    "RSA 3072": ("PS384", SHA384()),
    "RSA 4096": ("PS512", SHA512()),
    "secp256r1": ("ES256", SHA256()),
    "secp384r1": ("ES384", SHA384()),
    "secp521r1": ("ES512", SHA512()),
}
"""The JWS algorithm and hash for a key: signature-specification.md#algorithm-selection."""

_HASHES = (SHA256, SHA384, SHA512)
_SIGNED_WITH = {
    SignatureAlgorithmOID.RSA_WITH_SHA256,
    SignatureAlgorithmOID.RSA_WITH_SHA384,
    SignatureAlgorithmOID.RSA_WITH_SHA512,
    SignatureAlgorithmOID.RSASSA_PSS,
    SignatureAlgorithmOID.ECDSA_WITH_SHA256,
    SignatureAlgorithmOID.ECDSA_WITH_SHA384,
    SignatureAlgorithmOID.ECDSA_WITH_SHA512,
}
"""How certificates may be signed; with PSS, the hash is a parameter of its own."""

_EVALUATED = {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE}
_OTHER_PURPOSES = {
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    ExtendedKeyUsageOID.SERVER_AUTH,
    ExtendedKeyUsageOID.CLIENT_AUTH,
    ExtendedKeyUsageOID.EMAIL_PROTECTION,
    ExtendedKeyUsageOID.TIME_STAMPING,
}
_NAMES = dict(
    zip(
        ATTRIBUTES,
        (
            NameOID.COUNTRY_NAME,
            NameOID.STATE_OR_PROVINCE_NAME,
            NameOID.STATE_OR_PROVINCE_NAME,
            NameOID.LOCALITY_NAME,
            NameOID.STREET_ADDRESS,
            NameOID.POSTAL_CODE,
            NameOID.ORGANIZATION_NAME,
            NameOID.ORGANIZATIONAL_UNIT_NAME,
            NameOID.COMMON_NAME,
            NameOID.SERIAL_NUMBER,
            NameOID.DOMAIN_COMPONENT,
            NameOID.USER_ID,
        ),
        strict=True,
    )
)


class _Header(msgspec.Struct):
    x5c: list[str]


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    payload: str
    protected: str
    signature: str
    header: _Header


class _Protected(msgspec.Struct):
    alg: str
    cty: str
    crit: list[str]
    scheme: str = msgspec.field(name=SCHEME)
    signing_time: Time | None = msgspec.field(name="io.cncf.notary.signingTime", default=None)
    authentic_time: Any = msgspec.field(name="io.cncf.notary.authenticSigningTime", default=None)
    expiry: Time | None = msgspec.field(name=EXPIRY, default=None)
    plugin: Any = msgspec.field(name="io.cncf.notary.verificationPlugin", default=None)


class _Target(msgspec.Struct):
    digest: str
    size: int


class _Payload(msgspec.Struct, rename="camel"):
    target_artifact: _Target


class NotationExaminer:
    """Examines signatures of one digest at a time.

    Raises:
        Malformed: the root certificates, or the identities, cannot be used.
    """

    def __init__(self, subject: Digest, subject_size: int | None, trust: NotationTrust, now: datetime) -> None:
        self._subject, self._size, self._now = subject, subject_size, now
        try:
            self._roots = x509.load_pem_x509_certificates(trust.certificates.encode())
        except ValueError as error:
            raise Malformed("notation.certificates", "has no certificates in PEM") from error
        self._identities = [_identity(index, text) for index, text in enumerate(trust.identities)]

    def jws(self, one: Attached) -> Signed:
        """A signature in a JWS envelope.

        1. It has one signature, in the flattened JSON form, with a chain of certificates.
        2. Its protected headers are those of the scheme notary.x509, and all critical ones are known.
        3. It is signed by the key of the first certificate, with the algorithm that its key calls for.
        4. Its payload names this digest, and the size of the manifest.
        5. The chain is complete, each certificate fit for its purpose, and its last one a pinned root.
        6. The first certificate was issued to a trusted identity.
        7. The signature has not expired.
        8. Every certificate is valid, now and when the signature was made.
        """
        envelope = decoded(one.payload, _Envelope, "the envelope")  # 1
        protected = decoded(_base64url(envelope.protected), _Protected, "the protected header")
        chain = _certificates(envelope.header.x5c)
        _require_headers(protected)  # 2
        message = f"{envelope.protected}.{envelope.payload}".encode()
        _require_signature(chain[0], protected.alg, _base64url(envelope.signature), message)  # 3
        self._require_target(decoded(_base64url(envelope.payload), _Payload, "the payload").target_artifact)  # 4
        _require_chain(chain)  # 5
        if chain[-1] not in self._roots:
            raise Unverified(f"its root {_name(chain[-1])} is not one of the rule's")
        self._require_identity(chain[0])  # 6
        if protected.expiry is not None and self._now >= protected.expiry:  # 7
            raise Unverified(f"it has expired at {protected.expiry:%Y-%m-%d %H:%M:%S}")
        assert protected.signing_time is not None  # required above
        for moment, what in ((self._now, "now"), (protected.signing_time, "when the signature was made")):  # 8
            _require_valid(chain, moment, what)
        return Signed(place=one.place, kind="Notation", by=_name(chain[0]), at=protected.signing_time)

    def _require_target(self, target: _Target) -> None:
        if target.digest != self._subject:
            raise Unverified(f"it is for {plain(target.digest)[:80]}")
        if self._size is not None and target.size != self._size:
            raise Unverified(f"it says that the manifest has {target.size} bytes, and it has {self._size}")

    def _require_identity(self, certificate: x509.Certificate) -> None:
        for identity in self._identities:
            if all(_values(certificate, name) == [value] for name, value in identity.items()):
                return
        raise Unverified(f"its signer {_name(certificate)} is not trusted")


def _identity(index: int, text: str) -> dict[str, str]:
    """The attributes that a trusted identity needs; none for `*`."""
    problem, attributes = identity_problem(text), {} if text == "*" else parse_subject(text)
    if problem or attributes is None:
        raise Malformed(f"notation.identities.{index}", problem or "cannot be parsed")
    return attributes


def _values(certificate: x509.Certificate, name: str) -> list[str]:
    return [str(one.value) for one in certificate.subject.get_attributes_for_oid(_NAMES[name])]


def _require_headers(protected: _Protected) -> None:
    if protected.cty != PAYLOAD_TYPE:
        raise Unverified(f"its content type is {plain(protected.cty)[:80]!r}, not {PAYLOAD_TYPE}")
    if protected.scheme != "notary.x509":
        raise Unverified(f"its signing scheme is {plain(protected.scheme)[:80]!r}: only notary.x509 is supported")
    if protected.plugin is not None:
        raise Unverified("it calls for a plugin of Notation: none is supported")
    present = {SCHEME} | ({EXPIRY} if protected.expiry else set[str]())
    if set(protected.crit) != present:
        raise Unverified(f"its critical headers are {plain(', '.join(protected.crit))[:160]}: {present} are expected")
    if protected.signing_time is None or protected.authentic_time is not None:
        raise Unverified("it has no signing time, or one that notary.x509 does not allow")


def _certificates(texts: list[str]) -> list[x509.Certificate]:
    if not 1 <= len(texts) <= _CHAIN_LIMIT:
        raise Unverified(f"it has {len(texts)} certificates: 1 to {_CHAIN_LIMIT} are supported")
    try:
        return [x509.load_der_x509_certificate(base64.b64decode(text, validate=True)) for text in texts]
    except ValueError as error:
        raise Unverified(f"a certificate cannot be parsed ({plain(error)[:120]})") from error


def _algorithm(key: object) -> tuple[str, HashAlgorithm]:
    if isinstance(key, rsa.RSAPublicKey):
        kind = f"RSA {key.key_size}"
    else:
        kind = key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else ""
    if kind not in _ALGORITHMS:
        raise Unverified("its key is neither RSA of 2048, 3072 or 4096 bits nor ECDSA with P-256, P-384 or P-521")
    return _ALGORITHMS[kind]


def _require_signature(certificate: x509.Certificate, alg: str, signature: bytes, message: bytes) -> None:
    key = certificate.public_key()
    expected, hashed = _algorithm(key)
    if alg != expected:
        raise Unverified(f"its algorithm is {plain(alg)[:20]!r}, and its key calls for {expected}")
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(_der(signature, (key.key_size + 7) // 8), message, ec.ECDSA(hashed))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PSS(padding.MGF1(hashed), hashed.digest_size), hashed)
    except InvalidSignature:
        raise Unverified("its signature is not by the key of its first certificate") from None


def _der(signature: bytes, size: int) -> bytes:
    """The DER form of an ECDSA signature of two numbers: https://www.rfc-editor.org/rfc/rfc7518#section-3.4"""
    if len(signature) != 2 * size:
        raise Unverified(f"its signature has {len(signature)} bytes, not {2 * size}")
    return encode_dss_signature(int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big"))


def _require_chain(chain: list[x509.Certificate]) -> None:
    """Require a chain from a certificate for signing to a root: signature-specification.md#certificate-requirements."""
    for number, certificate in enumerate(chain):
        issuer = chain[min(number + 1, len(chain) - 1)]
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise Unverified(f"{_name(certificate)} is not issued by {_name(issuer)}: the chain is broken") from error
        own = _authority_problems(certificate, number - 1) if number else _leaf_problems(certificate)
        if problem := next(chained(_common_problems(certificate), own), ""):
            raise Unverified(f"{_name(certificate)} {problem}")


def _common_problems(certificate: x509.Certificate) -> Iterator[str]:
    """Why a certificate is unfit, wherever in a chain it is.

    The specification ignores all extensions but three. A limit that an authority was given counts here: what is not
    evaluated is not believed (https://www.rfc-editor.org/rfc/rfc5280#section-4.2).
    """
    algorithm = certificate.signature_algorithm_oid
    if algorithm not in _SIGNED_WITH or not isinstance(certificate.signature_hash_algorithm, _HASHES):
        yield f"is signed with {algorithm.dotted_string}, not with RSA or ECDSA and SHA-256, SHA-384 or SHA-512"
    for one in certificate.extensions:
        if one.critical and one.oid not in _EVALUATED:
            yield f"has the critical extension {one.oid.dotted_string}, which is not evaluated here"
        elif one.oid == ExtensionOID.NAME_CONSTRAINTS:
            yield "limits the names below it, which is not evaluated here"


def _authority_problems(certificate: x509.Certificate, below: int) -> Iterator[str]:
    """Why a certificate is no authority; `below` is the number of authorities below it."""
    basic, usage = _extension(certificate, x509.BasicConstraints), _extension(certificate, x509.KeyUsage)
    if basic is None or not basic.critical or not basic.value.ca:
        yield "is no certificate authority (basic constraints)"
    elif basic.value.path_length is not None and basic.value.path_length < below:
        yield f"allows {basic.value.path_length} authorities below it, and there are {below}"
    if usage is None or not usage.critical or not usage.value.key_cert_sign:
        yield "is not for signing certificates (key usage)"


def _leaf_problems(certificate: x509.Certificate) -> Iterator[str]:
    """Why a certificate is not for signing code."""
    basic, usage = _extension(certificate, x509.BasicConstraints), _extension(certificate, x509.KeyUsage)
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    if basic is not None and basic.value.ca:
        yield "is a certificate authority, not for signing images"
    if usage is None or not usage.critical or not usage.value.digital_signature:
        yield "is not for digital signatures (key usage)"
    elif any(
        getattr(usage.value, name)
        for name in ("key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign")
    ):
        yield "is for more than digital signatures (key usage)"
    if purposes is not None and _OTHER_PURPOSES & set(purposes.value):
        yield "is not for signing code (extended key usage)"


Kind = TypeVar("Kind", bound=x509.ExtensionType)


def _extension(certificate: x509.Certificate, kind: type[Kind]) -> x509.Extension[Kind] | None:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _require_valid(chain: list[x509.Certificate], moment: datetime, what: str) -> None:
    for certificate in chain:
        if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
            span = f"{certificate.not_valid_before_utc:%Y-%m-%d} to {certificate.not_valid_after_utc:%Y-%m-%d}"
            raise Unverified(f"{_name(certificate)} is valid from {span}, not {what}")


def _name(certificate: x509.Certificate) -> str:
    return plain(certificate.subject.rfc4514_string())[:200] or "a certificate without a subject"


def _base64url(text: str) -> bytes:
    try:
        if "=" in text:
            raise Unverified("a part of the envelope is not base64url")
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unverified("a part of the envelope is not base64url") from error
