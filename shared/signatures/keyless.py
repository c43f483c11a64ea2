"""Keyless signatures of cosign, verified by sigstore-python without the network.

Certificates of Fulcio are checked against the pinned trust root at the time that a log or a timestamp authority
vouches for. No TUF repository is read, and no log is asked.

sigstore-python verifies bundles. The older scheme of cosign has an entry of Rekor with a promise of inclusion (a
signed timestamp), and no proof of inclusion, which sigstore-python requires. `_PromisedEntry` and `_PromisedBundle`
replace just that requirement; everything else is the library's: chain, SCT, profile, identity, promise and signature.

Sources: https://github.com/sigstore/architecture-docs/blob/main/client-spec.md#4-verification,
https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
"""

import base64
from datetime import datetime

import msgspec
from cryptography import x509
from cryptography.hazmat import asn1
from sigstore._internal.trust import KeyringPurpose
from sigstore.dsse import Envelope
from sigstore.errors import Error as SigstoreError
from sigstore.errors import VerificationError
from sigstore.models import Bundle, TransparencyLogEntry, TrustedRoot
from sigstore.verify import Verifier
from sigstore_models.bundle import v1 as bundles
from sigstore_models.common.v1 import LogId, MessageSignature
from sigstore_models.intoto import Envelope as DsseEnvelope
from sigstore_models.rekor import v1 as rekor
from sigstore_models.trustroot.v1 import TrustedRoot as TrustedRootDocument

from shared.domain.errors import Malformed
from shared.signatures.model import Unverified, plain
from shared.signatures.trust import CosignTrust, Keyless, matches

_ISSUER, _ISSUER_V2 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1"), x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_USER_NAME = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.7")
"""The type of the other name in a certificate whose identity is a user name."""


class Signer(msgspec.Struct, frozen=True):
    """Who signed, as a verified certificate says, and when at the latest."""

    name: str
    at: datetime


class _Payload(
    msgspec.Struct, rename={"integrated_time": "integratedTime", "log_index": "logIndex", "log_id": "logID"}
):
    body: str
    integrated_time: int
    log_index: int
    log_id: str


class _RekorBundle(msgspec.Struct, rename="pascal"):
    signed_entry_timestamp: str
    payload: _Payload


class _Body(msgspec.Struct, rename="camel"):
    kind: str
    api_version: str


class KeylessExaminer:
    """Verifies keyless signatures by trusted identities, under a pinned trust root.

    Raises:
        Malformed: the trust root cannot be used.
    """

    def __init__(self, trust: CosignTrust) -> None:
        self._policy = _TrustedIdentities(trust.keyless)
        try:
            root = TrustedRoot(TrustedRootDocument.from_json(trust.trust_root))
            self._verifier = Verifier(trusted_root=root)
            _require_logs(root)
        except (SigstoreError, ValueError, x509.InvalidVersion) as error:
            raise Malformed("cosign.trust_root", f"is not a usable trusted root ({plain(error)[:120]})") from error

    def bundle(self, text: bytes) -> tuple[Signer, str, bytes]:
        """Verify the DSSE envelope of a bundle; returns its signer, and the type and bytes of its payload."""
        try:
            bundle = Bundle.from_json(text)
            payload_type, payload = self._verifier.verify_dsse(bundle, self._policy)
            return self._signer(bundle), payload_type, payload
        except SigstoreError as error:
            raise Unverified(_reason(error)) from error

    def promised(self, payload: bytes, signature: bytes, certificate: str, entry: str) -> Signer:
        """Verify a signature of the older scheme: its PEM certificate, and its entry of Rekor as JSON."""
        if not entry:
            raise Unverified("it has no entry of a transparency log, which would say when it was made")
        try:
            content = MessageSignature(signature=base64.b64encode(signature))
            bundle = _PromisedBundle.of(content, certificate, entry)
            self._verifier.verify_artifact(payload, bundle, self._policy)
            return self._signer(bundle)
        except SigstoreError as error:
            raise Unverified(_reason(error)) from error

    def promised_envelope(self, envelope: bytes, certificate: str, entry: str) -> tuple[Signer, str, bytes]:
        """Verify a DSSE envelope of the older scheme, as `promised` does; returns what `bundle` does."""
        if not entry:
            raise Unverified("it has no entry of a transparency log, which would say when it was made")
        try:
            bundle = _PromisedBundle.of(Envelope._from_json(envelope)._inner, certificate, entry)
            payload_type, payload = self._verifier.verify_dsse(bundle, self._policy)
            return self._signer(bundle), payload_type, payload
        except SigstoreError as error:
            raise Unverified(_reason(error)) from error

    def _signer(self, bundle: Bundle) -> Signer:
        """The signer of a bundle that is verified."""
        certificate = bundle.signing_certificate
        name = f"{', '.join(_identities(certificate))} (issuer {_issuer(certificate)})"
        return Signer(plain(name), min(one.time for one in self._verifier._establish_time(bundle)))


def _require_logs(root: TrustedRoot) -> None:
    """Raises `SigstoreError` unless there are keys for what each keyless signature needs: the timestamp of a log of
    certificates, and an entry of a transparency log.
    """
    for keyring, log in ((root.ct_keyring, "log of certificates"), (root.rekor_keyring, "transparency log")):
        if not keyring(KeyringPurpose.VERIFY)._keyring:  # keys that cannot be used are left out
            raise VerificationError(f"it has no usable key of a {log}")


class _TrustedIdentities:
    """The policy of sigstore-python: the certificate's identity and issuer are those of one trusted signer."""

    def __init__(self, trusted: tuple[Keyless, ...]) -> None:
        self._trusted = trusted

    def verify(self, cert: x509.Certificate) -> None:
        """Raises `VerificationError` if they are not."""
        identities, issuer = _identities(cert), _issuer(cert)
        for one in self._trusted:
            if one.issuer == issuer and any(matches(one.identity, identity) for identity in identities):
                return
        raise VerificationError(f"{', '.join(identities) or 'nobody'}, issuer {issuer or 'none'}, is not trusted")


class _PromisedEntry(TransparencyLogEntry):
    """An entry of Rekor with a promise of inclusion in place of a proof."""

    def _validate(self) -> None:
        if not self._inner.inclusion_promise or not self._inner.integrated_time:
            raise VerificationError("the entry of the transparency log has no promise of inclusion")

    def _verify(self, keyring: object) -> None:
        self._verify_set(keyring)  # type: ignore[arg-type]


class _PromisedBundle(Bundle):
    """A signature with such an entry, as a bundle."""

    @classmethod
    def of(cls, content: MessageSignature | DsseEnvelope, certificate: str, entry: str) -> "_PromisedBundle":
        recorded = msgspec.json.decode(entry, type=_RekorBundle)
        payload, body = recorded.payload, base64.b64decode(recorded.payload.body, validate=True)
        kind = msgspec.json.decode(body, type=_Body)
        inner = rekor.TransparencyLogEntry.model_construct(
            log_index=payload.log_index,
            log_id=LogId.model_construct(key_id=bytes.fromhex(payload.log_id)),
            kind_version=rekor.KindVersion(kind=kind.kind, version=kind.api_version),
            integrated_time=payload.integrated_time,
            inclusion_promise=rekor.InclusionPromise(signed_entry_timestamp=recorded.signed_entry_timestamp.encode()),
            inclusion_proof=None,
            canonicalized_body=body,
        )
        bundle = cls.__new__(cls)
        bundle._inner = bundles.Bundle.model_construct(
            verification_material=bundles.VerificationMaterial.model_construct(timestamp_verification_data=None),
            message_signature=content if isinstance(content, MessageSignature) else None,
            dsse_envelope=content if isinstance(content, DsseEnvelope) else None,
        )
        bundle._signing_certificate = x509.load_pem_x509_certificate(certificate.encode())
        bundle._log_entry = _PromisedEntry(inner)
        return bundle


def _identities(certificate: x509.Certificate) -> list[str]:
    """The identities in a certificate: e-mail addresses, URLs and user names.

    Source: https://github.com/sigstore/fulcio/blob/main/docs/certificate-specification.md#subject-alternative-name
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    others = [other for other in names.get_values_for_type(x509.OtherName) if other.type_id == _USER_NAME]
    return [
        *names.get_values_for_type(x509.RFC822Name),
        *names.get_values_for_type(x509.UniformResourceIdentifier),
        *(asn1.decode_der(str, other.value) for other in others),
    ]


def _issuer(certificate: x509.Certificate) -> str:
    """The OIDC issuer that confirmed the identity, "" if the certificate names none."""
    for oid, decode in ((_ISSUER_V2, lambda value: asn1.decode_der(str, value)), (_ISSUER, bytes.decode)):
        try:
            extension = certificate.extensions.get_extension_for_oid(oid).value
        except x509.ExtensionNotFound:
            continue
        assert isinstance(extension, x509.UnrecognizedExtension)
        return decode(extension.value)
    return ""


def _reason(error: SigstoreError) -> str:
    return plain(error) or type(error).__name__
