"""Referrers: what is attached to a digest upstream, such as signatures, SBOMs and attestations, is copied with it.

The import of an image leaves them behind. Whoever may push at the source decides what is attached, so nothing of it is
believed: a referrer is copied as it is, by digest and within limits, and is as good after that as it was before.
Source: https://github.com/dotnet/docker-tools/issues/1999
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

import msgspec

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.errors import Busy, Gone, Malformed, Misconfigured, Rejected, Retry, Throttled
from shared.domain.image import Digest, ImageRef, short
from shared.domain.policy import Gate, RegistryRule
from shared.domain.promotion import Promotion
from shared.ports import COSIGN_TAGS, Artifact, Descriptor, Manifest, Services
from shared.promotion.referrer_manifest import Blob, ReferrerManifest, referrer_manifest
from shared.signatures.model import plain

MANIFESTS_LIMIT = 50
"""How many referrers of one digest are copied: the first ones of the list."""

BLOB_LIMIT_BYTES = 8 * 1024 * 1024
"""The maximum size of one file of a referrer. Twice that is in memory while it is read, in up to 24 invocations of a
worker (`host.json`): 384 MiB. Signatures have some kilobytes, attestations and SBOMs up to some megabytes.
"""

TOTAL_LIMIT_BYTES = 256 * 1024 * 1024
"""The maximum size of all referrers of one digest."""

READ_SECONDS = 30.0
"""How long one try reads. The next one continues where it ended."""

_MANIFEST_LIMIT_BYTES = 1024 * 1024
"""A quarter of what registries must take: decision records are added to what is under a tag of cosign."""

_LISTED_CHARACTERS = 4096
"""The maximum size of annotations in an index of referrers, which has the decision records, too."""


Ask = Callable[[int], object]
"""Is called with the number of requests that are about to be sent to the source; raises `Busy` if it must be left alone
for now."""


class Copied(msgspec.Struct, kw_only=True):
    """What became of the referrers of a digest: how many are `new` at the target, and how many were there already, with
    the `digests` of both, except those that were added to another manifest there. Why others were refused, and how many
    were beyond the limits.
    """

    digests: list[Digest] = []
    new: int = 0
    there: int = 0
    refused: list[str] = []
    left_out: int = 0
    is_complete: bool = True

    @property
    def is_nothing(self) -> bool:
        """Whether nothing is attached upstream."""
        return not (self.new or self.there or self.refused or self.left_out) and self.is_complete

    @property
    def words(self) -> str:
        """What a person is to know of it."""
        parts = [f"{self.new} copied"]
        if self.there:
            parts.append(f"{self.there} there already")
        if self.left_out or not self.is_complete:
            parts.append(f"{self.left_out or 'an unknown number'} beyond the limits")
        if self.refused:
            parts.append(f"{len(self.refused)} refused, {self.refused[0]}")
        return "; ".join(parts)


def not_copied(promotion: Promotion, since: datetime) -> Alarm:
    """The alarm about a promotion whose referrers could not be copied."""
    return Alarm(
        scope=f"gates/{promotion.gate}",
        kind=AlarmKind.NOT_COPIED,
        subject=promotion.tag,
        words=f"what is attached to {promotion.image} was not copied with it: {promotion.referrers_problem}",
        plan=f"{promotion.tag} was promoted without it; the sweep tries again every hour",
        since=since,
    )


class UpstreamReferrers:
    """Copies the referrers of promoted digests."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def copy(self, image: ImageRef, source: RegistryRule, gate: Gate, ask: Ask) -> Copied:
        """Copy what is attached to an image in its source registry to the same digest in a gate's target repository.

        1. List the referrers, and the tags of cosign's older scheme.
        2. The image must be in the target, or its referrers would be orphans.
        3. Copy one after another, up to the limits. One that cannot be had or is refused stops no other.

        Raises:
            Gone: the image is not in the target any more.
            Busy, Throttled: the source must be left alone for now. What was copied stays.
            Retry: something could not be read, or not in time. What was copied stays.
            BasegateError: the list cannot be read.
        """
        reader, place = self._services.referrers, (source, image.repository, image.digest)
        ends_at = time.monotonic() + READ_SECONDS
        ask(1 + len(COSIGN_TAGS))  # 1
        listed, tagged = reader.attached(*place, ends_at=ends_at), reader.cosign_tags(*place, ends_at=ends_at)
        found = (*tagged, *listed.manifests)
        copied = Copied(left_out=listed.left_out + len(found[MANIFESTS_LIMIT:]), is_complete=listed.is_complete)
        if not found:
            return copied
        target, repository = self._services.registry_rule(gate.promote.registry), gate.promote.repository
        if self._services.registry.manifest(target, repository, image.digest) is None:  # 2
            raise Gone(f"{image.digest} is not in {target.login_server}/{repository}")
        copy = _Copy(self._services, (source, image), (target, repository), copied, ends_at, ask)
        unread = list[Retry]()
        for one in found[:MANIFESTS_LIMIT]:  # 3
            try:
                copy.take(one)
            except (Busy, Throttled):
                raise
            except Retry as error:
                unread.append(error)
            except (Malformed, Rejected) as error:
                copied.refused.append(f"{one.tag or short(one.digest)}: {plain(error.problem)}")
        if unread:
            raise Retry(f"{len(unread)} of {len(found)} could not be copied: {unread[0].problem}")
        return copied


class _Copy:
    """Copies the referrers of one image, in one try; what becomes of them is added to `copied`."""

    def __init__(
        self,
        services: Services,
        source: tuple[RegistryRule, ImageRef],
        target: tuple[RegistryRule, str],
        copied: Copied,
        ends_at: float,
        ask: Ask,
    ) -> None:
        self._referrers, self._registry, self._copied = services.referrers, services.registry, copied
        (self._source, self._image), self._target = source, target
        self._ends_at, self._ask, self._left_bytes = ends_at, ask, TOTAL_LIMIT_BYTES

    def take(self, one: Descriptor) -> None:
        """Copy one referrer, unless it is there.

        Raises:
            Malformed, Rejected: it is refused, here or by a registry. Retry: it cannot be read now.
        """
        self._require_time()
        there = self._registry.manifest(*self._target, one.tag or one.digest)
        is_there = there is not None and _digest_of(there) == one.digest
        body = there if there is not None and is_there else self._read(one.digest, _MANIFEST_LIMIT_BYTES, blob=False)
        if one.size not in (0, len(body)):
            raise Malformed("size", f"it is listed with {one.size} bytes, and has {len(body)}")
        manifest = referrer_manifest(body, self._image.digest, by_tag=bool(one.tag))
        if not self._has_room(len(body), manifest):
            self._copied.left_out += 1
            return
        if one.tag and there is not None and not is_there:
            is_there = not self._merge(one.tag, there, manifest)
        else:
            self._put(body, manifest, one.tag, () if is_there else manifest.blobs)
            self._copied.digests.append(one.digest)
        self._copied.there += is_there
        self._copied.new += not is_there

    def _has_room(self, size: int, manifest: ReferrerManifest) -> bool:
        """Whether it is within the limits: then its bytes are taken off them."""
        size += manifest.size
        if size > self._left_bytes or any(blob.size > BLOB_LIMIT_BYTES for blob in manifest.blobs):
            return False
        self._left_bytes -= size
        return True

    def _put(self, body: bytes, manifest: ReferrerManifest, tag: str, blobs: Iterable[Blob]) -> None:
        """Store the blobs, but those that a try before has stored, then the manifest: also one that is there, since it
        may not be listed as a referrer yet.
        """
        for blob in blobs:
            there = self._registry.blob_size(*self._target, blob.digest)
            if there is None:
                self._registry.put_blob(*self._target, self._content(blob))
            else:
                _require_size(blob, there)
        stored = Manifest(
            media_type=manifest.media_type,
            content=body,
            subject=None if tag else self._image.digest,
            artifact_type=manifest.artifact_type,
            annotations=manifest.annotations if len(str(manifest.annotations)) < _LISTED_CHARACTERS else {},
        )
        self._registry.put_manifest(*self._target, stored, tag)

    def _merge(self, tag: str, there: bytes, manifest: ReferrerManifest) -> bool:
        """Add the layers that are not under a tag of cosign: what others keep there, as the gate does with its decision
        records, stays. Returns whether anything was added.
        """
        if len(there) > _MANIFEST_LIMIT_BYTES:
            raise Malformed(tag, "what is at the target is too large to be added to")
        known = {layer.digest for layer in referrer_manifest(there, self._image.digest, by_tag=True).layers}
        missing = [layer for layer in manifest.layers if layer.digest not in known]
        for layer in missing:
            annotations: Mapping[str, str] = layer.annotations
            added = Artifact(media_type=layer.media_type, content=self._content(layer), annotations=annotations)
            self._registry.add_layer(*self._target, tag, added)
        return bool(missing)

    def _content(self, blob: Blob) -> bytes:
        content = self._read(blob.digest, blob.size, blob=True)
        _require_size(blob, len(content))
        return content

    def _read(self, digest: Digest, limit_bytes: int, *, blob: bool) -> bytes:
        read = self._referrers.blob if blob else self._referrers.manifest
        self._ask(1)
        try:
            return read(self._source, self._image.repository, digest, limit_bytes, ends_at=self._ends_at)
        except Misconfigured as error:  # the list could be read: it is about this one, such as where it redirects to
            raise Rejected(error.problem) from error

    def _require_time(self) -> None:
        if time.monotonic() > self._ends_at:
            raise Retry(f"it takes longer than {READ_SECONDS:.0f} s to copy what is attached to {self._image}")


def _require_size(blob: Blob, found: int) -> None:
    if found != blob.size:
        raise Malformed("size", f"{short(blob.digest)} is to have {blob.size} bytes, and has {found}")


def _digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
