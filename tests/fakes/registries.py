"""Registries: for their owner, for anonymous readers, their credentials and their event subscriptions."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from shared.domain.errors import BasegateError, Gone, Malformed, Misconfigured, Rejected
from shared.domain.image import Digest, ImageRef, Tag, parse_digest
from shared.domain.policy import RegistryRule
from shared.ports import (
    COSIGN_TAGS,
    Allowance,
    Artifact,
    Attachments,
    CopyStatus,
    Descriptor,
    Manifest,
    RunStatus,
    Signature,
    TagPush,
    TagState,
)
from shared.signatures.model import Attached
from tests.fakes.clock import START, FakeClock

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


SBOM = "application/spdx+json"


def attached_manifest(*blobs: bytes, subject: str | None = None, **changes: Any) -> bytes:
    """The manifest of an SBOM that is attached to an image: as a referrer if it has a subject."""
    layers = [{"mediaType": SBOM, "digest": digest_of(blob), "size": len(blob)} for blob in blobs]
    made: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": SBOM,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(b"{}"), "size": 2},
        "layers": layers,
    }
    made |= {"subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1}} if subject else {}
    return json.dumps(made | changes).encode()


def digest_of(content: bytes) -> Digest:
    """The digest of bytes."""
    return parse_digest("sha256:" + hashlib.sha256(content).hexdigest())


class FakeRegistry:
    """Tags by (registry, repository:tag); copies take `copy_seconds`.

    `servers` are the login servers that differ from the rules'. `fault` is raised by every call, `read_fault` by
    reading the registry itself, `copy_fault`, `lock_fault`, `refusing`, `remove_fault`, `attach_fault` and `put_fault`
    by a copy, a lock, a move, a removal, an artifact that is attached and one that is copied; a copy that has begun
    fails with `copy_problem`, or copies `copy_result` instead.
    """

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.tags: dict[tuple[str, str], Digest] = {}
        self.untagged: set[tuple[str, str, Digest]] = set()
        self.pushed: dict[tuple[str, str], datetime] = {}
        self.locked: set[tuple[str, str]] = set()
        self.unlocked: list[Digest] = []
        self.moves: list[tuple[str, Digest]] = []
        self.copies: list[str] = []
        self.copy_seconds = 2.0
        self.copy_problem = ""
        self.copy_result: Digest | None = None
        self.servers: dict[str, str] = {}
        self.fault: Exception | None = None
        self.read_fault: Exception | None = None
        self.copy_fault: Exception | None = None
        self.lock_fault: Exception | None = None
        self.refusing: Exception | None = None
        self.remove_fault: Exception | None = None
        self.attached: dict[Digest, list[Artifact]] = {}
        self.layers: dict[str, list[Artifact]] = {}
        self.attach_fault: Exception | None = None
        self.blobs: dict[Digest, bytes] = {}
        self.manifests: dict[tuple[str, str, str], bytes] = {}
        self.referrers: dict[Digest, list[Digest]] = {}
        self.put_fault: Exception | None = None
        self.token_expires_at: datetime | None = None
        self._under_way: dict[str, tuple[datetime, str, str, Digest]] = {}

    def login_server(self, registry: RegistryRule) -> str:
        self._maybe_fail(self.read_fault)
        return self.servers.get(registry.name, registry.login_server)

    def digest_of(self, registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        self._maybe_fail()
        return self.tags.get((registry.name, f"{repository}:{tag}"))

    def tags_of(self, registry: RegistryRule, repository: str) -> Iterator[Tag]:
        names = [name for (at, name) in list(self.tags) if at == registry.name]
        return (Tag(name.partition(":")[2]) for name in names if name.startswith(f"{repository}:"))

    def tag_state(self, registry: RegistryRule, repository: str, tag: str) -> TagState | None:
        found = self.digest_of(registry, repository, tag)
        return TagState(found, (registry.name, f"{repository}:{tag}") in self.locked) if found else None

    def newest_tags(self, registry: RegistryRule, repository: str, limit: int) -> list[TagPush]:
        names = [Tag(name) for name in self.tags_of(registry, repository)]
        found = [(self.pushed.get((registry.name, f"{repository}:{name}"), START), name) for name in names]
        newest = sorted(found, reverse=True)[:limit]
        return [TagPush(name, self.tags[(registry.name, f"{repository}:{name}")], at) for at, name in newest]

    def token_expiry(self, registry: RegistryRule, token: str, now: datetime) -> datetime | None:
        return self.token_expires_at

    def start_copy(self, source: ImageRef, source_rule: RegistryRule, target: RegistryRule, name: str) -> str:
        self._maybe_fail(self.copy_fault)
        if (target.name, name) in self.locked:
            raise Rejected(f"{target.login_server}/{name} is locked")
        self.copies.append(name)
        operation = f"copy-{len(self.copies)}"
        done = self._clock.now() + timedelta(seconds=self.copy_seconds)
        self._under_way[operation] = (done, target.name, name, self.copy_result or source.digest)
        return operation

    def copy_status(self, target: RegistryRule, operation: str) -> CopyStatus:
        self._maybe_fail()
        done, registry, name, content = self._under_way[operation]
        if self._clock.now() < done:
            return CopyStatus(RunStatus.RUNNING)
        if self.copy_problem:
            return CopyStatus(RunStatus.FAILED, self.copy_problem)
        self.tags[(registry, name)] = content
        return CopyStatus(RunStatus.SUCCEEDED)

    def lock(self, registry: RegistryRule, repository: str, tag: str, digest: Digest) -> None:
        self._maybe_fail(self.lock_fault)
        self.locked.add((registry.name, f"{repository}:{tag}"))

    def point(self, registry: RegistryRule, repository: str, tag: str, digest: Digest) -> None:
        self._maybe_fail(self.refusing)
        name = f"{repository}:{tag}"
        if (registry.name, name) in self.locked:
            raise Rejected(f"{registry.login_server}/{name} is locked")
        if not self._has(registry, repository, digest):
            raise Gone(f"{digest} is not in {registry.login_server}/{repository}")
        self.tags[(registry.name, name)] = digest
        self.moves.append((f"{registry.name}/{name}", digest))

    def unlock(self, registry: RegistryRule, repository: str, tag: str, digest: Digest | None) -> None:
        self._maybe_fail(self.lock_fault)
        self.locked.discard((registry.name, f"{repository}:{tag}"))
        if digest:
            self.unlocked.append(digest)

    def remove_tag(self, registry: RegistryRule, repository: str, tag: str) -> None:
        self._maybe_fail(self.remove_fault)
        name = f"{repository}:{tag}"
        if (registry.name, name) in self.locked:
            raise Rejected(f"{registry.login_server}/{name} is locked")
        content = self.tags.pop((registry.name, name), None)
        if content is not None:
            self.untagged.add((registry.name, repository, content))

    def attach(self, registry: RegistryRule, repository: str, subject: Digest, artifact: Artifact) -> Digest:
        self._maybe_fail(self.attach_fault)
        if not self._has(registry, repository, subject):
            raise Gone(f"{subject} is not in {registry.login_server}/{repository}")
        there = self.attached.setdefault(subject, [])
        if artifact not in there:
            there.append(artifact)
        return digest_of(artifact.content)

    def add_layer(self, registry: RegistryRule, repository: str, tag: str, layer: Artifact) -> None:
        self._maybe_fail(self.attach_fault)
        layers = self.layers.setdefault(f"{registry.name}/{repository}:{tag}", [])
        if layer not in layers:
            layers.append(layer)
            self.tags.pop((registry.name, f"{repository}:{tag}"), None)

    def manifest(self, registry: RegistryRule, repository: str, reference: str) -> bytes | None:
        """A stored manifest; `{}` for an image, and one that is made of the layers that were added under a tag."""
        self._maybe_fail()
        found = self.tags.get((registry.name, f"{repository}:{reference}"), reference)
        if (content := self.manifests.get((registry.name, repository, found))) is not None:
            return content
        if layers := self.layers.get(f"{registry.name}/{repository}:{reference}"):
            shown = [
                {"mediaType": layer.media_type, "digest": digest_of(layer.content), "size": len(layer.content)}
                for layer in layers
            ]
            return json.dumps({"mediaType": OCI_MANIFEST, "layers": shown}).encode()
        is_image = reference.startswith("sha256:") and self._has(registry, repository, parse_digest(reference))
        return b"{}" if is_image else None

    def blob_size(self, registry: RegistryRule, repository: str, digest: Digest) -> int | None:
        self._maybe_fail()
        return len(self.blobs[digest]) if digest in self.blobs else None

    def put_blob(self, registry: RegistryRule, repository: str, content: bytes) -> None:
        self._maybe_fail(self.put_fault)
        self.blobs[digest_of(content)] = content

    def put_manifest(self, registry: RegistryRule, repository: str, manifest: Manifest, tag: str) -> None:
        """Store a manifest, whose blobs must be there. Those under a tag are the layers that `add_layer` adds to."""
        self._maybe_fail(self.put_fault)
        found, written = digest_of(manifest.content), json.loads(manifest.content)
        layers = [*written.get("layers", ()), *written.get("blobs", ())]
        if missing := [one["digest"] for one in layers if one["digest"] not in self.blobs]:
            raise Rejected(f"{missing[0]} is not in {registry.login_server}/{repository}")
        self.manifests[(registry.name, repository, found)] = manifest.content
        if tag:
            self.tags[(registry.name, f"{repository}:{tag}")] = found
            self.layers[f"{registry.name}/{repository}:{tag}"] = [
                Artifact(
                    media_type=one["mediaType"],
                    content=self.blobs[one["digest"]],
                    annotations=one.get("annotations") or {},
                )
                for one in layers
            ]
        if manifest.subject is not None:
            there = self.referrers.setdefault(manifest.subject, [])
            there += [found] if found not in there else []

    def _has(self, registry: RegistryRule, repository: str, content: Digest) -> bool:
        prefix = f"{repository}:"
        tagged = any(
            d == content for (at, name), d in self.tags.items() if at == registry.name and name.startswith(prefix)
        )
        return tagged or (registry.name, repository, content) in self.untagged

    def _maybe_fail(self, fault: Exception | None = None) -> None:
        if self.fault or fault:
            raise self.fault or fault  # type: ignore[misc]


class FakeTags:
    """The tags of the registries for anonymous readers; `asked` has the tags read, `faults` are by registry."""

    def __init__(self, registry: FakeRegistry) -> None:
        self._registry = registry
        self.asked: list[str] = []
        self.faults: dict[str, BasegateError] = {}
        self.said: Allowance | None = None

    def digest_of(self, registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        self.asked.append(f"{registry.name}/{repository}:{tag}")
        if registry.name in self.faults:
            raise self.faults[registry.name]
        return self._registry.digest_of(registry, repository, tag)

    def tags(self, registry: RegistryRule, repository: str) -> Iterator[str]:
        if registry.name in self.faults:
            raise self.faults[registry.name]
        return self._registry.tags_of(registry, repository)

    def allowance(self, registry: RegistryRule) -> Allowance | None:
        return self.said


class FakeReferrers:
    """What is attached to digests: manifests and blobs by digest. `fault` is raised by every call, and `ends` has the
    `ends_at` of every call.

    `listed` are the referrers of a digest, `tagged` the digests under the tags of cosign, `left_out` and `is_complete`
    what the answer says of the rest. `faults` are raised by reading a digest; `reads` has the digests that were read.
    """

    def __init__(self) -> None:
        self.content: dict[Digest, bytes] = {}
        self.listed: dict[Digest, list[Descriptor]] = {}
        self.tagged: dict[str, Digest] = {}
        self.left_out, self.is_complete = 0, True
        self.fault: BasegateError | None = None
        self.list_fault: BasegateError | None = None
        self.faults: dict[Digest, BasegateError] = {}
        self.reads: list[Digest] = []
        self.ends: list[float] = []

    def put(self, content: bytes) -> Digest:
        """Store a manifest or a blob."""
        found = parse_digest("sha256:" + hashlib.sha256(content).hexdigest())
        self.content[found] = content
        return found

    def attach(
        self,
        subject: Digest,
        layers: Iterable[Attached],
        artifact_type: str = "",
        *,
        named: Digest | None = None,
        tag: str = "",
    ) -> Digest:
        """Attach a manifest with layers to a digest: as a referrer, or under a tag. It names `named` as its subject."""
        parts = [
            {
                "mediaType": layer.media_type,
                "digest": self.put(layer.payload),
                "size": len(layer.payload),
                "annotations": layer.annotations,
            }
            for layer in layers
        ]
        manifest: dict[str, object] = {"schemaVersion": 2, "config": {"mediaType": "application/x"}, "layers": parts}
        if not tag:
            manifest |= {"artifactType": artifact_type, "subject": {"digest": named or subject}}
        found = self.put(json.dumps(manifest).encode())
        if tag:
            self.tagged[tag] = found
        else:
            self.listed.setdefault(subject, []).append(Descriptor(digest=found, artifact_type=artifact_type))
        return found

    def attached(
        self,
        registry: RegistryRule,
        repository: str,
        digest: Digest,
        artifact_type: str = "",
        *,
        ends_at: float = math.inf,
    ) -> Attachments:
        self._called(ends_at, self.list_fault)
        found = [one for one in self.listed.get(digest, []) if artifact_type in ("", one.artifact_type)]
        return Attachments(manifests=tuple(found), left_out=self.left_out, is_complete=self.is_complete)

    def cosign_tags(
        self,
        registry: RegistryRule,
        repository: str,
        digest: Digest,
        suffixes: Collection[str] = COSIGN_TAGS,
        *,
        ends_at: float = math.inf,
    ) -> tuple[Descriptor, ...]:
        self._called(ends_at, self.list_fault)
        tags = (f"{digest.replace(':', '-')}{suffix}" for suffix in suffixes)
        return tuple(Descriptor(digest=self.tagged[tag], tag=tag) for tag in tags if tag in self.tagged)

    def manifest(
        self, registry: RegistryRule, repository: str, digest: Digest, limit_bytes: int, *, ends_at: float = math.inf
    ) -> bytes:
        self.reads.append(digest)
        self._called(ends_at, self.faults.get(digest))
        if digest not in self.content:
            raise Gone(f"{digest} is listed, and is not there")
        if len(self.content[digest]) > limit_bytes:
            raise Malformed("response", f"{registry.login_server} sent more than {limit_bytes} bytes")
        return self.content[digest]

    blob = manifest

    def _called(self, ends_at: float, fault: BasegateError | None = None) -> None:
        self.ends.append(ends_at)
        if self.fault or fault:
            raise self.fault or fault  # type: ignore[misc]


class FakeSubscriptions:
    """Returns `reaching` for every registry."""

    def __init__(self) -> None:
        self.reaching: bool | None = True

    def delivers_to_app(self, registry: RegistryRule) -> bool | None:
        return self.reaching


class FakeSecrets:
    """A user and a password for every registry, unless there is a fault. Runs receive the values `given`.

    `texts` are further secrets by name.
    """

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.texts: dict[str, str] = {}
        self.expires_at: datetime | None = None
        self.given: list[str] = []

    def read(self, name: str) -> str:
        if self.fault:
            raise self.fault
        if name not in self.texts:
            raise Misconfigured(f"there is no secret {name}")
        return self.texts[name]

    def expiry(self, registry: RegistryRule) -> datetime | None:
        return self.expires_at

    def credentials(self, registry: RegistryRule) -> tuple[str, str]:
        if self.fault:
            raise self.fault
        return f"{registry.name}-user", "a password"

    def values(self) -> list[str]:
        if self.fault:
            raise self.fault
        return self.given


class FakeSigner:
    """A key that signs, unless there is a fault. It has signed `signed` hashes."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        self._key = ec.generate_private_key(ec.SECP256R1())
        self.fault: Exception | None = None
        self.signed = 0

    @property
    def public_key(self) -> bytes:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, digest: bytes) -> Signature:
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
        from cryptography.hazmat.primitives.hashes import SHA256

        self.check()
        self.signed += 1
        return Signature(self._key.sign(digest, ec.ECDSA(Prehashed(SHA256()))), self.public_key)

    def check(self) -> None:
        if self.fault:
            raise self.fault
