"""Artifacts that refer to an image, as OCI 1.1 has them: a manifest with a subject, found by the referrers API.

A registry without that API, such as one that is encrypted with a customer-managed key, lists them in an index under the
tag `sha256-<digest>`, which the client maintains.

Sources: https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md#guidelines-for-artifact-usage,
https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-manifests-with-subject,
https://learn.microsoft.com/azure/container-registry/container-registry-manage-artifact
"""

import hashlib
import json
from io import BytesIO
from typing import Any

from azure.containerregistry import ContainerRegistryClient

from shared.adapters.azure_calls import expected
from shared.domain.errors import Gone, Retry
from shared.domain.image import Digest, digest_tag, parse_digest
from shared.ports import Artifact, Manifest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_EMPTY_TYPE, _EMPTY = "application/vnd.oci.empty.v1+json", b"{}"


def attach(client: ContainerRegistryClient, repository: str, subject: Digest, artifact: Artifact) -> Digest:
    """Push an artifact; its bytes, and so its digest, depend on the artifact and the subject alone.

    1. The subject exists: its media type and size are part of the manifest.
    2. The file and the empty configuration are uploaded; what is there already is the same.
    3. The manifest is pushed by its digest.

    Raises:
        Gone: the subject does not exist. Retry: somebody else changed the subject's tag meanwhile.
    """
    with expected(404, instead=Gone(f"{subject} is not in {repository}")):  # 1
        media_type, body = read(client, repository, subject)
    made = Manifest(
        media_type=OCI_MANIFEST,
        content=manifest({"mediaType": media_type, "digest": subject, "size": len(body)}, artifact),
        subject=subject,
        artifact_type=artifact.artifact_type or artifact.media_type,
        annotations=artifact.annotations,
    )
    for blob in (_EMPTY, artifact.content):  # 2
        client.upload_blob(repository, BytesIO(blob))
    return put(client, repository, made)  # 3


def put(client: ContainerRegistryClient, repository: str, made: Manifest, tag: str = "") -> Digest:
    """Push a manifest, under a tag or by its digest. If the registry does not say that it knows subjects, it is listed
    under the tag of its subject.

    Raises:
        Retry: somebody else changed that tag meanwhile.
    """
    headers: list[str] = []
    pushed = client.set_manifest(
        repository,
        BytesIO(made.content),
        tag=tag or None,
        media_type=made.media_type,
        raw_response_hook=lambda response: headers.append(response.http_response.headers.get("OCI-Subject", "")),
    )
    if made.subject is not None and headers[-1] != made.subject:
        descriptor = _descriptor(made.media_type, made.content) | {"artifactType": made.artifact_type}
        list_by_tag(client, repository, made.subject, descriptor | {"annotations": dict(made.annotations)})
    return parse_digest(pushed, "digest of an artifact")


def manifest(subject: dict[str, Any], artifact: Artifact) -> bytes:
    """The manifest of an artifact; its file has a name where `oras pull` is to write it."""
    layer = _descriptor(artifact.media_type, artifact.content)
    if artifact.file_name:
        layer["annotations"] = {"org.opencontainers.image.title": artifact.file_name}
    made = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact.artifact_type or artifact.media_type,
        "config": _descriptor(_EMPTY_TYPE, _EMPTY),
        "layers": [layer],
        "subject": subject,
        "annotations": dict(artifact.annotations),
    }
    return json.dumps(made, separators=(",", ":"), sort_keys=True).encode()


def list_by_tag(client: ContainerRegistryClient, repository: str, subject: Digest, descriptor: dict[str, Any]) -> None:
    """Add an artifact to the index of a subject's artifacts."""
    empty = {"schemaVersion": 2, "mediaType": OCI_INDEX}
    _append(client, repository, digest_tag(subject), ("manifests", descriptor), empty)


def add_layer(client: ContainerRegistryClient, repository: str, tag: str, layer: Artifact) -> None:
    """Add a file to the layers of the artifact under a tag, as cosign keeps attestations.

    Source: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
    """
    config = json.dumps({"architecture": "", "os": "", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    for blob in (config, layer.content):
        client.upload_blob(repository, BytesIO(blob))
    descriptor = _descriptor(layer.media_type, layer.content) | {"annotations": dict(layer.annotations)}
    empty = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": _descriptor(_CONFIG_TYPE, config)}
    _append(client, repository, tag, ("layers", descriptor), empty)


def _append(
    client: ContainerRegistryClient, repository: str, tag: str, entry: tuple[str, dict[str, Any]], empty: dict[str, Any]
) -> None:
    """Add an entry to a list of the manifest under a tag, and read that back: no registry changes a tag on a condition.

    Of two clients that change it at the same time the last one wins. If the other one reads back after that, it tries
    again; if it has read back before, its entry is lost, and nobody knows. So the tag is no proof that there is no
    record: where the registry lists referrers, that list is whole.

    Raises:
        Retry: somebody else changed it before it was read back.
    """
    name, descriptor = entry
    there = _under(client, repository, tag) or empty
    if any(one["digest"] == descriptor["digest"] for one in there.get(name, [])):
        return
    body = json.dumps(there | {name: [*there.get(name, []), descriptor]}, separators=(",", ":")).encode()
    client.set_manifest(repository, BytesIO(body), tag=tag, media_type=str(empty["mediaType"]))
    if descriptor not in _under(client, repository, tag).get(name, []):
        raise Retry(f"another client changed {repository}:{tag} at the same time")


def _under(client: ContainerRegistryClient, repository: str, tag: str) -> dict[str, Any]:
    """The manifest under a tag, empty if there is none."""
    with expected(404):
        return dict(json.loads(read(client, repository, tag)[1]))
    return {}


def read(client: ContainerRegistryClient, repository: str, reference: str) -> tuple[str, bytes]:
    """The media type and the bytes of a manifest."""
    read: list[bytes] = []
    found = client.get_manifest(
        repository, reference, raw_response_hook=lambda response: read.append(response.http_response.body())
    )
    return str(found.media_type), read[-1]


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return {"mediaType": media_type, "digest": digest, "size": len(content)}
