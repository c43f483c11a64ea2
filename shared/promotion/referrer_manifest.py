"""The manifest of a referrer, as anybody who may push at the source can write it: it is checked before it is copied.

Sources: https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md and
https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
"""

import json
from collections.abc import Iterable, Mapping

import msgspec

from shared.domain.errors import Malformed
from shared.domain.image import Digest, parse_digest
from shared.signatures.model import plain

BLOBS_LIMIT = 100
"""How many blobs a referrer may have: an attestation of cosign's older scheme is a layer."""

_IMAGE = "application/vnd.oci.image.manifest.v1+json"
_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
_TYPES = frozenset((_IMAGE, _ARTIFACT))
_SHOWN = 80
_TYPE_LIMIT = 255
"""The maximum length of a media type: https://www.rfc-editor.org/rfc/rfc6838#section-4.2"""


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """A blob of a referrer: its configuration, or a layer."""

    digest: Digest
    size: int
    media_type: str = ""
    annotations: Mapping[str, str] = {}


class ReferrerManifest(msgspec.Struct, frozen=True, kw_only=True):
    """A valid manifest. `blobs` are all that it needs, each once; `layers` those that are not its configuration."""

    media_type: str
    artifact_type: str
    annotations: Mapping[str, str]
    blobs: tuple[Blob, ...]
    layers: tuple[Blob, ...]

    @property
    def size(self) -> int:
        """The bytes of all blobs, as the manifest says."""
        return sum(blob.size for blob in self.blobs)


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: str
    size: int
    media_type: str = ""
    urls: list[str] | None = None
    annotations: dict[str, str] | None = None


class _Subject(msgspec.Struct):
    digest: str = ""


class _Manifest(msgspec.Struct, rename="camel"):
    media_type: str = ""
    artifact_type: str = ""
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    blobs: list[_Descriptor] | None = None
    manifests: list[msgspec.Raw] | None = None
    subject: _Subject | None = None
    annotations: dict[str, str] | None = None


_KEYS = {key.casefold(): key for part in (_Manifest, _Descriptor) for key in part.__struct_encode_fields__}


def referrer_manifest(body: bytes, subject: Digest, *, by_tag: bool = False) -> ReferrerManifest:
    """The manifest of a referrer of a digest. `by_tag`: it is under cosign's tag for that digest, and needs no subject.

    1. All readers understand its keys alike.
    2. It is an image manifest or an artifact manifest, not an index, whatever it calls itself. Under a tag it has
       layers, so that more can be added to them.
    3. It refers to exactly this digest.
    4. Its blobs are named by digest and size, not too many, and none is to be fetched from elsewhere.

    Raises:
        Malformed: it is not.
    """
    manifest = _parsed(body)  # 1
    media_type = manifest.media_type or (_IMAGE if manifest.config else "")
    if manifest.manifests is not None or media_type not in _TYPES:  # 2
        kind = "an index" if manifest.manifests is not None else f"of the media type {_shown(media_type)}"
        raise Malformed("manifest", f"it is {kind}, and only manifests of images and artifacts are copied")
    if by_tag and (media_type != _IMAGE or manifest.layers is None):
        raise Malformed("manifest", f"it is under a tag of cosign, and not an {_IMAGE} with layers")
    named = manifest.subject.digest if manifest.subject else ""
    if named != subject and (named or not by_tag):  # 3
        raise Malformed("subject", f"it refers to {_shown(named)}, not to {subject}")
    artifact_type = manifest.artifact_type or (manifest.config.media_type if manifest.config else "")
    if len(artifact_type) > _TYPE_LIMIT:
        raise Malformed("manifest", f"its artifact type has {len(artifact_type)} characters")
    layers = tuple(map(_blob, [*(manifest.layers or ()), *(manifest.blobs or ())]))  # 4
    return ReferrerManifest(
        media_type=media_type,
        artifact_type=artifact_type,
        annotations=manifest.annotations or {},
        blobs=_distinct([*([_blob(manifest.config)] if manifest.config else []), *layers]),
        layers=layers,
    )


def _parsed(body: bytes) -> _Manifest:
    try:
        json.loads(body, object_pairs_hook=_require_plain)
        return msgspec.json.decode(body, type=_Manifest)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise Malformed("manifest", "it is not the manifest of an artifact") from error


def _require_plain(pairs: list[tuple[str, object]]) -> None:
    """Refuse an object with a key twice, or with one that differs from a known key in case alone: readers in Go take
    that for the known one, and keep parts of both values.

    Source: https://pkg.go.dev/encoding/json#Unmarshal
    """
    for key, _ in pairs:
        if _KEYS.get(key.casefold(), key) != key:
            raise Malformed("manifest", f"it has the key {_shown(key)}")
    if len({key for key, _ in pairs}) < len(pairs):
        raise Malformed("manifest", "it has a key twice")


def _distinct(blobs: Iterable[Blob]) -> tuple[Blob, ...]:
    distinct = tuple({blob.digest: blob for blob in blobs}.values())
    if len(distinct) > BLOBS_LIMIT:
        raise Malformed("layers", f"it has {len(distinct)} blobs, more than {BLOBS_LIMIT}")
    return distinct


def _blob(written: _Descriptor) -> Blob:
    if written.size < 0:
        raise Malformed("layers", f"a blob has the size {written.size}")
    if written.urls:
        raise Malformed("layers", "a blob is to be fetched from another place")
    return Blob(
        digest=parse_digest(written.digest, "layers"),
        size=written.size,
        media_type=written.media_type,
        annotations=written.annotations or {},
    )


def _shown(text: str) -> str:
    return plain(text)[:_SHOWN] or "nothing"
