"""Manifests of signatures: what is attached to a digest, and which of its layers are signatures.

Sources: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md (the older scheme, by tag),
https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md and
https://github.com/notaryproject/specifications/blob/main/specs/signature-specification.md#oci-signatures
"""

from collections.abc import Mapping

import msgspec

from shared.domain.dsse import BUNDLE_TYPE, ENVELOPE_TYPE
from shared.domain.errors import Malformed
from shared.domain.image import Digest, digest_tag, parse_digest
from shared.signatures.model import plain

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
NOTARY = "application/vnd.cncf.notary.signature"
JWS, COSE = "application/jose+json", "application/cose"

_LAYERS = {SIMPLE_SIGNING: "", BUNDLE_TYPE: BUNDLE_TYPE, JWS: NOTARY, COSE: NOTARY}
"""The media types of layers with signatures, and the artifact type that their manifest must have ("": any)."""


_BUNDLE_PREDICATE, _ENVELOPE_PREDICATE = "dev.sigstore.bundle.predicateType", "predicateType"
"""Annotations of cosign: of the manifest of a bundle, and of a layer of the older scheme."""


class Layer(msgspec.Struct, frozen=True):
    """A layer that claims to be a signature, or an attestation: then `predicate_type` is what its publisher says that
    it has, "" if he does not say it.
    """

    digest: Digest
    media_type: str
    annotations: Mapping[str, str] = {}
    predicate_type: str = ""


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: str
    media_type: str = ""
    annotations: dict[str, str] | None = None


class _Config(msgspec.Struct, rename="camel"):
    media_type: str = ""


class _Manifest(msgspec.Struct, rename="camel"):
    layers: list[_Descriptor] = []
    config: _Config = msgspec.field(default_factory=_Config)
    artifact_type: str = ""
    subject: _Descriptor | None = None
    annotations: dict[str, str] | None = None

    @property
    def kind(self) -> str:
        """Its artifact type."""
        return self.artifact_type or self.config.media_type


def signature_layers(body: bytes, subject: Digest, *, by_tag: bool = False) -> tuple[Layer, ...]:
    """The layers of a manifest that claim to be signatures of a digest, in their order.

    `by_tag`: it was found under cosign's tag for that digest, and needs no subject. The layers themselves may be
    anything: nothing is verified yet.

    Raises:
        Malformed: it is not such a manifest, or it names another subject.
    """
    manifest = _manifest(body, subject, by_tag=by_tag)
    kind = manifest.kind
    layers = [layer for layer in manifest.layers if _LAYERS.get(layer.media_type) in ("", kind)]
    if not layers:
        raise Malformed("layers", f"it has no layer with a signature (artifact type {plain(kind)[:80] or 'none'})")
    return tuple(
        Layer(parse_digest(layer.digest, "layers"), layer.media_type, layer.annotations or {}) for layer in layers
    )


def attestation_layers(body: bytes, subject: Digest, *, by_tag: bool = False) -> tuple[Layer, ...]:
    """The layers of a manifest that claim to be attestations about a digest, in their order: bundles, or under cosign's
    tag for that digest (`by_tag`) envelopes. Nothing is verified yet.

    Raises:
        Malformed: it is not such a manifest, or it names another subject.
    """
    manifest = _manifest(body, subject, by_tag=by_tag)
    kind = ENVELOPE_TYPE if by_tag else BUNDLE_TYPE
    layers = [layer for layer in manifest.layers if layer.media_type == kind and (by_tag or manifest.kind == kind)]
    if not layers:
        raise Malformed("layers", f"it has no attestation (artifact type {plain(manifest.kind)[:80] or 'none'})")
    above = "" if by_tag else (manifest.annotations or {}).get(_BUNDLE_PREDICATE, "")
    described = ((layer, layer.annotations or {}) for layer in layers)
    return tuple(
        Layer(
            parse_digest(layer.digest, "layers"),
            layer.media_type,
            annotations,
            annotations.get(_ENVELOPE_PREDICATE, "") if by_tag else above,
        )
        for layer, annotations in described
    )


def _manifest(body: bytes, subject: Digest, *, by_tag: bool) -> _Manifest:
    try:
        manifest = msgspec.json.decode(body, type=_Manifest)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Malformed("manifest", "it is not an image manifest") from error
    named = manifest.subject.digest if manifest.subject else ""
    if named != subject and (named or not by_tag):
        raise Malformed("subject", f"it is attached to {plain(named)[:80] or 'nothing'}, not to {subject}")
    return manifest


def signature_tag(subject: Digest) -> str:
    """The tag under which the older scheme of cosign keeps the signatures of a digest."""
    return digest_tag(subject, ".sig")
