"""DSSE envelopes in sigstore bundles: their form, and what is signed of them.

Sources: https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md,
https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto
"""

from typing import Generic, TypeVar

from msgspec import Struct

IN_TOTO = "application/vnd.in-toto+json"
ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"

M = TypeVar("M")


class EnvelopeSignature(Struct, frozen=True, kw_only=True):
    """A signature in base64."""

    sig: str


class Envelope(Struct, frozen=True, kw_only=True, rename="camel"):
    """A DSSE envelope; `payload` is in base64."""

    payload: str
    payload_type: str
    signatures: tuple[EnvelopeSignature, ...]


class Bundle(Struct, Generic[M], frozen=True, kw_only=True, rename="camel"):
    """A sigstore bundle with its material for verification. Fields that are not known are ignored."""

    media_type: str = ""
    verification_material: M
    dsse_envelope: Envelope | None = None


def pae(payload: bytes, payload_type: str = IN_TOTO) -> bytes:
    """What is signed: the pre-authentication encoding of a payload and its type."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
