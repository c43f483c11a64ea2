"""An authority of the tests' own, and signatures as Notation makes them.

Source: https://github.com/notaryproject/specifications/blob/main/specs/signature-envelope-jws.md
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA3_256, SHA224, SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared.signatures.manifest import JWS
from shared.signatures.model import Attached
from shared.signatures.trust import NotationTrust
from tests.fakes.sigstore import NOW

SUBJECT = {"C": "US", "ST": "WA", "O": "acme", "CN": "release"}
IDENTITY = "x509.subject: C=US, ST=WA, O=acme"
_NAMES = {
    "C": NameOID.COUNTRY_NAME, "ST": NameOID.STATE_OR_PROVINCE_NAME, "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME, "CN": NameOID.COMMON_NAME,
}  # fmt: skip
AUTHORITY, SIGNING = (5, 6), (0,)
"""The bits of key usages: keyCertSign and cRLSign, digitalSignature."""

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def name(attributes: Mapping[str, str] | list[tuple[str, str]]) -> x509.Name:
    pairs = attributes.items() if isinstance(attributes, Mapping) else attributes
    return x509.Name([x509.NameAttribute(_NAMES[key], value) for key, value in pairs])


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@dataclass(kw_only=True)
class Certificate:
    """What a certificate says; each field may be other than it should be.

    `further` are extensions, and whether each is critical.
    """

    subject: Mapping[str, str] | list[tuple[str, str]]
    usage: tuple[int, ...] = SIGNING
    usage_critical: bool = True
    authority: bool | None = None
    path_length: int | None = None
    purposes: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.CODE_SIGNING,)
    further: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    hashed: SHA224 | SHA256 | SHA3_256 = field(default_factory=SHA256)
    begins: datetime = NOW - timedelta(days=30)
    ends: datetime = NOW + timedelta(days=30)

    def issued(self, key: Key, issuer: x509.Name, by: Key) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(self.subject)).issuer_name(issuer).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(self.begins).not_valid_after(self.ends)
        )  # fmt: skip
        if self.authority is not None:
            basic = x509.BasicConstraints(ca=self.authority, path_length=self.path_length if self.authority else None)
            builder = builder.add_extension(basic, critical=True)
        if self.usage:
            usage = x509.KeyUsage(*(bit in self.usage for bit in range(9)))
            builder = builder.add_extension(usage, critical=self.usage_critical)
        if self.purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(self.purposes), critical=False)
        for extension, critical in self.further:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(by, self.hashed)


def an_authority(title: str, **changes: Any) -> Certificate:
    """What the certificate of an authority says."""
    fields: dict[str, Any] = {"usage": AUTHORITY, "authority": True, "purposes": ()} | changes
    return Certificate(subject={"O": "acme", "CN": title}, **fields)


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Notary:
    """An authority and one below it; `key` is the key of whoever signs."""

    root_key: Key = field(default_factory=_key)
    middle_key: Key = field(default_factory=_key)
    key: Key = field(default_factory=_key)

    def __post_init__(self) -> None:
        root = an_authority("root")
        self.root = root.issued(self.root_key, name(root.subject), self.root_key)
        self.middle = an_authority("middle").issued(self.middle_key, self.root.subject, self.root_key)

    def trust(self, *identities: str) -> NotationTrust:
        """A rule that trusts its root."""
        pem = self.root.public_bytes(Encoding.PEM).decode()
        return NotationTrust(certificates=pem, identities=identities or (IDENTITY,))

    def leaf(self, **changes: Any) -> x509.Certificate:
        """A certificate for signing."""
        says = Certificate(**({"subject": SUBJECT} | changes))
        return says.issued(self.key, self.middle.subject, self.middle_key)

    def chain(self, **changes: Any) -> list[x509.Certificate]:
        """A chain to the root; `changes` are of its first certificate."""
        return [self.leaf(**changes), self.middle, self.root]

    def sign(
        self,
        digest: str,
        chain: list[x509.Certificate] | None = None,
        *,
        size: int = 100,
        headers: dict[str, Any] | None = None,
        envelope: dict[str, Any] | None = None,
        payload: dict[str, Any] | None = None,
    ) -> Attached:
        """A signature; `headers`, `envelope` and `payload` replace parts of it (None removes one)."""
        target = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest, "size": size}
        protected = {
            "alg": "PS256" if isinstance(self.key, rsa.RSAPrivateKey) else "ES384" if self._is_384 else "ES256",
            "cty": "application/vnd.cncf.notary.payload.v1+json",
            "crit": ["io.cncf.notary.signingScheme"],
            "io.cncf.notary.signingScheme": "notary.x509",
            "io.cncf.notary.signingTime": (NOW - timedelta(days=1)).isoformat(),
            **(headers or {}),
        }
        protected = {key: value for key, value in protected.items() if value is not None}
        parts = [json.dumps(part).encode() for part in (protected, payload or {"targetArtifact": target})]
        message = ".".join(map(b64url, parts))
        certificates = [one.public_bytes(Encoding.DER) for one in chain or self.chain()]
        document = {
            "payload": b64url(parts[1]),
            "protected": b64url(parts[0]),
            "header": {"x5c": [base64.b64encode(one).decode() for one in certificates]},
            "signature": b64url(self._signature(message.encode())),
            **(envelope or {}),
        }
        return Attached(place="jws", media_type=JWS, payload=json.dumps(document).encode())

    @property
    def _is_384(self) -> bool:
        return isinstance(self.key, ec.EllipticCurvePrivateKey) and self.key.key_size == 384

    def _signature(self, message: bytes) -> bytes:
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(message, padding.PSS(padding.MGF1(SHA256()), 32), SHA256())
        half = self.key.key_size // 8
        signed = self.key.sign(message, ec.ECDSA(SHA384() if self._is_384 else SHA256()))
        return b"".join(number.to_bytes(half, "big") for number in decode_dss_signature(signed))
