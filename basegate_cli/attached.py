"""What is attached to an image, in a registry that is not trusted: decision records, and the documents that they name.

Source: https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md#guidelines-for-artifact-usage
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any

from basegate_cli.registry import Refused, Registry, Unreached
from shared.attestation.statement import DOCUMENT_TYPES
from shared.domain.dsse import BUNDLE_TYPE
from shared.domain.errors import Malformed
from shared.domain.image import Digest, parse_digest

MOST = 200
"""How many artifacts of a type are read of an image."""

_NOT_ATTACHED = "not attached"


def bundle(registry: Registry, repository: str, subject: Digest, descriptor: dict[str, Any]) -> bytes:
    """The bundle of an artifact whose manifest really refers to the image.

    Raises:
        Refused: it has none.
    """
    media_type, digest = _file(registry, repository, subject, descriptor)
    if media_type != BUNDLE_TYPE:
        raise Refused("its manifest has no bundle")
    return registry.blob(repository, digest)


def missing_documents(registry: Registry, repository: str, subject: Digest, named: Mapping[str, str]) -> dict[str, str]:
    """Why an image does not have documents, "" for one that it has; by digest, as `named` has their names.

    Documents are not signed, and anybody may attach some: one counts if the registry sends the bytes of its digest.
    """
    missing: dict[str, str] = {}
    for kind in dict.fromkeys(named.values()):
        wanted = dict.fromkeys((digest for digest, name in named.items() if name == kind), _NOT_ATTACHED)
        try:
            _search(registry, repository, subject, DOCUMENT_TYPES[kind], wanted)
        except (Refused, Unreached) as error:
            wanted = {digest: why and f"not to be found: {error}" for digest, why in wanted.items()}
        missing |= wanted
    return missing


def _search(registry: Registry, repository: str, subject: Digest, kind: str, wanted: dict[str, str]) -> None:
    """Search files among the artifacts of a type, and take note of what was found.

    Raises:
        Refused: the artifacts are not listed. Unreached.
    """
    listed = registry.referrers(repository, subject, kind)
    for descriptor in islice(listed, MOST):
        try:
            _, digest = _file(registry, repository, subject, descriptor)
        except Refused:
            continue  # somebody else's
        if wanted.get(digest) == _NOT_ATTACHED:
            wanted[digest] = _problem(registry, repository, digest)
            if _NOT_ATTACHED not in wanted.values():
                return
    if next(listed, None) is not None:
        first = f"not among the first {MOST} artifacts of its type"
        wanted |= {digest: first for digest, why in wanted.items() if why == _NOT_ATTACHED}


def _problem(registry: Registry, repository: str, digest: Digest) -> str:
    """Why a file that is attached cannot be had, "" if it can."""
    try:
        registry.blob(repository, digest)
    except (Refused, Unreached) as error:
        return f"attached, but {error}"
    return ""


def _file(registry: Registry, repository: str, subject: Digest, descriptor: dict[str, Any]) -> tuple[str, Digest]:
    """The media type and the digest of the one file of an artifact whose manifest really refers to the image.

    Raises:
        Refused: it has none.
    """
    try:
        _, body = registry.manifest(repository, parse_digest(descriptor["digest"]))
        manifest = json.loads(body)
        (layer,) = manifest["layers"]
        about, media_type, digest = manifest["subject"]["digest"], layer["mediaType"], parse_digest(layer["digest"])
    except Malformed as error:
        raise Refused(f"what is listed for it is no artifact: {error}") from None
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        raise Refused("its manifest is not that of an artifact with one file") from None
    if about != subject:
        raise Refused("its manifest is about another image")
    return str(media_type), digest
