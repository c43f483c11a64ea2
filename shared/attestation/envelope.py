"""The signature over a statement: DSSE, in a sigstore bundle, as cosign attaches and reads it.

A bundle names its key by a hint only, the hash of the public key: whoever verifies it has the key from elsewhere. There
is no certificate and no entry of a transparency log.
"""

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from shared.attestation.statement import STATEMENT_TYPE, Statement
from shared.domain.dsse import BUNDLE_TYPE, IN_TOTO, Bundle, Envelope, EnvelopeSignature, pae

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

Keys = Mapping[str, "EllipticCurvePublicKey"]
"""Public keys by their ids."""

_PEM_LABEL = b"-----BEGIN PUBLIC KEY-----"


class Unproven(Exception):
    """A record that proves nothing, or a key that cannot be used. The text says why, in one sentence."""


class _Typed(Struct, frozen=True, kw_only=True, rename="camel"):
    """As much of a statement as says what it is."""

    predicate_type: str


class _PublicKey(Struct, frozen=True, kw_only=True):
    hint: str = ""


class _Material(Struct, frozen=True, kw_only=True, rename="camel"):
    public_key: _PublicKey | None = None
    tlog_entries: tuple[Any, ...] = ()


def bundle(statement: bytes, signature: bytes, key_id: str) -> bytes:
    """The bundle of a statement, as JSON, with the signature over its `pae`: ECDSA over P-256 with SHA-256, in DER."""
    envelope = Envelope(
        payload=b64encode(statement).decode(),
        payload_type=IN_TOTO,
        signatures=(EnvelopeSignature(sig=b64encode(signature).decode()),),
    )
    material = _Material(public_key=_PublicKey(hint=key_id))
    made = Bundle(media_type=BUNDLE_TYPE, verification_material=material, dsse_envelope=envelope)
    return msgspec.json.encode(made, order="sorted")


def payload_of(content: bytes) -> bytes:
    """The statement in a bundle, unverified.

    Raises:
        Unproven: the bytes are no bundle of a statement.
    """
    return _parsed(content)[0]


def envelope_of(content: bytes) -> bytes:
    """The DSSE envelope in a bundle of our own, as JSON."""
    return msgspec.json.encode(msgspec.json.decode(content, type=Bundle[_Material]).dsse_envelope, order="sorted")


def predicate_type_of(content: bytes) -> str:
    """The type of the predicate in a bundle of our own, unverified."""
    return msgspec.json.decode(payload_of(content), type=_Typed).predicate_type


def verified(content: bytes, keys: Keys) -> tuple[Statement[Any], str]:
    """The statement in a bundle and the id of the key that signed it, after the signature was verified.

    1. The bundle is one, with exactly one signature over an in-toto statement.
    2. One of the keys made the signature; the hint in the bundle is not trusted.
    3. Only then is the statement parsed.

    Raises:
        Unproven: it is not signed by one of the keys, or is no bundle of a statement.
    """
    payload, signature = _parsed(content)  # 1
    key_id = next((name for name, key in keys.items() if _is_signed_by(key, signature, pae(payload))), None)  # 2
    if key_id is None:
        raise Unproven("its signature was made by none of the given keys, or its content was changed afterwards")
    try:
        statement = msgspec.json.decode(payload, type=Statement[Any])  # 3
    except (msgspec.DecodeError, ValueError) as error:
        raise Unproven(f"what is signed is no in-toto statement: {error}") from error
    if statement.type != STATEMENT_TYPE:
        raise Unproven(f"what is signed is no in-toto statement of version 1: its type is {statement.type!r}")
    return statement, key_id


def load_keys(pem: bytes) -> dict[str, "EllipticCurvePublicKey"]:
    """The public keys of a PEM file by their ids: of a rotated key there may be several.

    Raises:
        Unproven: there is none, or one is not an EC key over P-256.
    """
    blocks = [_PEM_LABEL + part for part in pem.split(_PEM_LABEL)[1:]]
    if not blocks:
        raise Unproven("the key file has no public key in PEM (-----BEGIN PUBLIC KEY-----)")
    return {key_id(block): _load(block) for block in blocks}


@lru_cache(maxsize=8)  # every signature names its key, which rarely changes
def key_id(pem: bytes) -> str:
    """The id of a public key in PEM: the SHA-256 of its DER form in base64, as cosign names keys in bundles.

    Raises:
        Unproven: it is no public key.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der = _load(pem).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b64encode(hashlib.sha256(der).digest()).decode()


def _load(pem: bytes) -> "EllipticCurvePublicKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Unproven("the key file has a public key that cannot be read") from error
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise Unproven("the key file has a key of another type: decision records are signed with an EC key over P-256")
    return key


def _is_signed_by(key: "EllipticCurvePublicKey", signature: bytes, content: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        key.verify(signature, content, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _parsed(content: bytes) -> tuple[bytes, bytes]:
    """The payload and the signature of a bundle."""
    try:
        parsed = msgspec.json.decode(content, type=Bundle[_Material])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Unproven(f"it is no sigstore bundle: {error}") from error
    if parsed.media_type != BUNDLE_TYPE or parsed.dsse_envelope is None:
        raise Unproven(f"it is no sigstore bundle with a DSSE envelope: its media type is {parsed.media_type[:80]!r}")
    envelope = parsed.dsse_envelope
    if envelope.payload_type != IN_TOTO or len(envelope.signatures) != 1:
        raise Unproven("its envelope does not have one signature over an in-toto statement")
    try:
        return b64decode(envelope.payload, validate=True), b64decode(envelope.signatures[0].sig, validate=True)
    except ValueError as error:
        raise Unproven("its envelope is not in base64") from error
