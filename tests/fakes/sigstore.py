"""A Sigstore of the tests' own: Fulcio, Rekor and a log of certificates, with keys that nobody else has.

`sign` makes what `cosign sign` pushes: a bundle, or a layer of the older scheme.

Sources: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md,
https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md, https://www.rfc-editor.org/rfc/rfc6962#section-3.2
and https://github.com/C2SP/C2SP/blob/main/signed-note.md
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared.domain.dsse import BUNDLE_TYPE, ENVELOPE_TYPE
from shared.signatures.manifest import SIMPLE_SIGNING
from shared.signatures.model import Attached
from shared.signatures.trust import TRUSTED_ROOT, CosignTrust, Keyless

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WORKFLOW = "https://github.com/acme/node/.github/workflows/release.yml@refs/heads/main"
ISSUER = "https://token.actions.githubusercontent.com"
SIGN = "https://sigstore.dev/cosign/sign/v1"
IN_TOTO = "application/vnd.in-toto+json"
_ORIGIN = "rekor.tests"
_SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")

Signer = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def pem(key: Signer) -> str:
    """The public half of a key, as `cosign public-key` writes it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def spki(key: Signer) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def sign(key: Signer, message: bytes, hashed: HashAlgorithm | None = None) -> bytes:
    """A signature as cosign makes it."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(hashed or SHA256()))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    return key.sign(message, padding.PKCS1v15(), hashed or SHA256())


def simple_signing(digest: str, reference: str = "registry.example/node") -> bytes:
    """The payload of the older scheme."""
    critical = {
        "identity": {"docker-reference": reference},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    return json.dumps({"critical": critical, "optional": None}).encode()


def statement(digest: str, predicate_type: str = SIGN, **more: Any) -> bytes:
    """The content of a bundle."""
    subject = [{"name": "", "digest": {"sha256": digest.removeprefix("sha256:")}}]
    return json.dumps(
        {"_type": "https://in-toto.io/Statement/v1", "subject": subject, "predicateType": predicate_type, **more}
    ).encode()


def pae(payload: bytes, payload_type: str = IN_TOTO) -> bytes:
    return b"DSSEv1 %d %b %d %b" % (len(payload_type), payload_type.encode(), len(payload), payload)


def old_layer(payload: bytes, signature: bytes, **annotations: str) -> Attached:
    """A layer of the older scheme."""
    named = {f"dev.sigstore.cosign/{name}": value for name, value in annotations.items()}
    return Attached(
        place="layer",
        media_type=SIMPLE_SIGNING,
        payload=payload,
        annotations={"dev.cosignproject.cosign/signature": b64(signature), **named},
    )


def bundle_layer(document: dict[str, Any]) -> Attached:
    return Attached(place="bundle", media_type=BUNDLE_TYPE, payload=json.dumps(document).encode())


def envelope(key: Signer, payload: bytes, payload_type: str = IN_TOTO, hashed: HashAlgorithm | None = None) -> Any:
    signature = sign(key, pae(payload, payload_type), hashed)
    return {"payload": b64(payload), "payloadType": payload_type, "signatures": [{"sig": b64(signature)}]}


def key_bundle(key: Signer, payload: bytes, hashed: HashAlgorithm | None = None) -> Attached:
    """A bundle that was signed with a key."""
    material = {"publicKey": {"hint": "h"}, "tlogEntries": []}
    return bundle_layer(
        {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": material,
            "dsseEnvelope": envelope(key, payload, hashed=hashed),
        }
    )


def envelope_layer(document: dict[str, Any], **annotations: str) -> Attached:
    """An attestation of the older scheme: an envelope, with annotations of cosign."""
    named = {f"dev.sigstore.cosign/{name}": value for name, value in annotations.items()}
    content = json.dumps(document).encode()
    return Attached(place="layer", media_type=ENVELOPE_TYPE, payload=content, annotations=named)


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Sigstore:
    """One instance. `leaf` is the key of the certificates that it issues, `at` when it signs."""

    fulcio: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    rekor: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    ct: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    leaf: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    at: datetime = NOW

    def __post_init__(self) -> None:
        name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "tests")])
        usage = x509.KeyUsage(*(n in (5, 6) for n in range(9)))  # keyCertSign and cRLSign
        self.authority = (
            x509.CertificateBuilder()
            .subject_name(name).issuer_name(name).public_key(self.fulcio.public_key()).serial_number(1)
            .not_valid_before(NOW - timedelta(days=365)).not_valid_after(NOW + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.fulcio.public_key()), critical=False)
            .sign(self.fulcio, SHA256())
        )  # fmt: skip

    def trusted_root(self) -> str:
        """Its trusted_root.json."""
        valid = {"start": "2020-01-01T00:00:00Z"}

        def log(key: Signer, url: str) -> dict[str, Any]:
            public = {"rawBytes": b64(spki(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": valid}
            key_id = {"keyId": b64(hashlib.sha256(spki(key)).digest())}
            return {"baseUrl": url, "hashAlgorithm": "SHA2_256", "publicKey": public, "logId": key_id}

        chain = {"certificates": [{"rawBytes": b64(self.authority.public_bytes(Encoding.DER))}]}
        subject = {"organization": "tests", "commonName": "tests"}
        return json.dumps(
            {
                "mediaType": TRUSTED_ROOT,
                "tlogs": [log(self.rekor, "https://rekor.tests")],
                "certificateAuthorities": [
                    {"subject": subject, "uri": "https://fulcio.tests", "certChain": chain, "validFor": valid}
                ],
                "ctlogs": [log(self.ct, "https://ct.tests")],
            }
        )

    def trust(self, identity: str = WORKFLOW, issuer: str = ISSUER) -> CosignTrust:
        """A rule that trusts one identity under it."""
        return CosignTrust(keyless=(Keyless(identity=identity, issuer=issuer),), trust_root=self.trusted_root())

    def certificate(self, identity: str = WORKFLOW, issuer: str = ISSUER, *, logged: bool = True) -> x509.Certificate:
        """A certificate of Fulcio, for ten minutes, with the timestamp of the log of certificates."""
        name: x509.GeneralName = (
            x509.RFC822Name(identity) if "@" in identity and "://" not in identity
            else x509.UniformResourceIdentifier(identity)
        )  # fmt: skip
        usage = x509.KeyUsage(*(n == 0 for n in range(9)))  # digitalSignature
        text = issuer.encode()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([])).issuer_name(self.authority.subject).public_key(self.leaf.public_key())
            .serial_number(7).not_valid_before(self.at).not_valid_after(self.at + timedelta(minutes=10))
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.leaf.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.fulcio.public_key()), critical=False)
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1"), text), critical=False)
            .add_extension(
                x509.UnrecognizedExtension(
                    x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8"), b"\x0c" + bytes([len(text)]) + text
                ), critical=False)
        )  # fmt: skip
        if not logged:
            return builder.sign(self.fulcio, SHA256())
        scts = self._timestamp(builder.sign(self.fulcio, SHA256()).tbs_certificate_bytes)
        value = bytes([4, len(scts)]) + scts  # an octet string of DER: it is shorter than 128 bytes
        return builder.add_extension(x509.UnrecognizedExtension(_SCT_LIST, value), critical=False).sign(
            self.fulcio, SHA256()
        )

    def bundle(self, payload: bytes, certificate: x509.Certificate | None = None, **changes: Any) -> dict[str, Any]:
        """A keyless bundle; `changes` replace parts of its entry in the log."""
        certificate = certificate or self.certificate()
        signed = envelope(self.leaf, payload)
        return {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {
                "certificate": {"rawBytes": b64(certificate.public_bytes(Encoding.DER))},
                "tlogEntries": [self._entry(self._dsse_body(signed, payload, certificate), "dsse") | changes],
            },
            "dsseEnvelope": signed,
        }

    def old_signature(self, payload: bytes, certificate: x509.Certificate | None = None) -> Attached:
        """A keyless signature of the older scheme."""
        certificate = certificate or self.certificate()
        signature, text = sign(self.leaf, payload), certificate.public_bytes(Encoding.PEM)
        spec = {
            "signature": {"content": b64(signature), "publicKey": {"content": b64(text)}},
            "data": {"hash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()}},
        }
        body = json.dumps({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": spec}).encode()
        entry = {"SignedEntryTimestamp": b64(self._promise(body)), "Payload": self._promised(body)}
        return old_layer(payload, signature, certificate=text.decode(), bundle=json.dumps(entry))

    def old_attestation(self, payload: bytes, certificate: x509.Certificate | None = None) -> Attached:
        """A keyless attestation of the older scheme."""
        certificate = certificate or self.certificate()
        signed, text = envelope(self.leaf, payload), certificate.public_bytes(Encoding.PEM).decode()
        body = self._dsse_body(signed, payload, certificate)
        entry = {"SignedEntryTimestamp": b64(self._promise(body)), "Payload": self._promised(body)}
        return envelope_layer(signed, certificate=text, bundle=json.dumps(entry))

    def _dsse_body(self, signed: dict[str, Any], payload: bytes, certificate: x509.Certificate) -> bytes:
        verifier = b64(certificate.public_bytes(Encoding.PEM))
        spec = {
            "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(json.dumps(signed).encode()).hexdigest()},
            "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
            "signatures": [{"signature": signed["signatures"][0]["sig"], "verifier": verifier}],
        }
        return json.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}).encode()

    def _entry(self, body: bytes, kind: str) -> dict[str, Any]:
        """The entry of a log with one leaf."""
        root = hashlib.sha256(b"\0" + body).digest()
        log_id = hashlib.sha256(spki(self.rekor)).digest()
        note = f"{_ORIGIN}\n1\n{b64(root)}\n"
        signature = b64(log_id[:4] + sign(self.rekor, note.encode()))
        return {
            "logIndex": "0",
            "logId": {"keyId": b64(log_id)},
            "kindVersion": {"kind": kind, "version": "0.0.1"},
            "integratedTime": str(int(self.at.timestamp()) + 60),
            "inclusionPromise": {"signedEntryTimestamp": b64(self._promise(body))},
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": b64(root),
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": f"{note}\n\u2014 {_ORIGIN} {signature}\n"},
            },
            "canonicalizedBody": b64(body),
        }

    def _promised(self, body: bytes) -> dict[str, Any]:
        log_id = hashlib.sha256(spki(self.rekor)).hexdigest()
        time = int(self.at.timestamp()) + 60
        return {"body": b64(body), "integratedTime": time, "logIndex": 0, "logID": log_id}

    def _promise(self, body: bytes) -> bytes:
        """The signed timestamp of an entry."""
        return sign(self.rekor, json.dumps(self._promised(body), sort_keys=True, separators=(",", ":")).encode())

    def _timestamp(self, certificate: bytes) -> bytes:
        """The list of one signed certificate timestamp for a certificate without it."""
        time = int(self.at.timestamp() * 1000)
        issuer, log_id = hashlib.sha256(spki(self.fulcio)).digest(), hashlib.sha256(spki(self.ct)).digest()
        length = len(certificate).to_bytes(3, "big")
        signature = sign(self.ct, struct.pack("!BBQH", 0, 0, time, 1) + issuer + length + certificate + b"\0\0")
        timestamp = struct.pack("!B32sQH", 0, log_id, time, 0) + b"\x04\x03" + struct.pack("!H", len(signature))
        timestamp += signature
        return struct.pack("!HH", len(timestamp) + 2, len(timestamp)) + timestamp
