"""Repository names, tags, digests and image references, in the syntax of the OCI distribution specification.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pull
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from sandbox.web import Fault

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST_REPOSITORY = 256


def repository_name(raw: str) -> str:
    """Parse a repository name from a URL path.

    Raises:
        Fault: 400 NAME_INVALID. A valid name is safe to use as a path below a folder.
    """
    name = unquote(raw)
    if len(name) > _LONGEST_REPOSITORY or not _REPOSITORY.fullmatch(name):
        raise Fault(400, "NAME_INVALID", f"invalid repository name: '{name[:_LONGEST_REPOSITORY]}'")
    return name


def tag_name(raw: str) -> str:
    """Parse a tag from a URL path.

    Raises:
        Fault: 400 TAG_INVALID. A valid tag is safe to use as a path below a folder.
    """
    name = unquote(raw)
    if not _TAG.fullmatch(name):
        raise Fault(400, "TAG_INVALID", f"invalid tag name: '{name[:128]}'")
    return name


def digest_name(raw: str) -> str:
    """Parse a sha256 digest from a URL path.

    Raises:
        Fault: 400 DIGEST_INVALID.
    """
    name = unquote(raw)
    if not _DIGEST.fullmatch(name):
        raise Fault(400, "DIGEST_INVALID", f"invalid digest: '{name[:80]}'")
    return name


def is_digest(reference: str) -> bool:
    """Whether a manifest reference is a digest and not a tag."""
    return _DIGEST.fullmatch(reference) is not None


@dataclass(frozen=True, slots=True)
class ImageReference:
    """`repository[:tag][@digest]` without a registry; a tag or digest that the text does not contain is None."""

    repository: str
    tag: str | None
    digest: str | None

    @property
    def reference(self) -> str:
        """The manifest reference to request: the digest, else the tag, else `latest`."""
        return self.digest or self.tag or "latest"

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """Parse an image reference.

        Raises:
            Fault: 400 that names the invalid part.
        """
        rest, _, digest = text.partition("@")
        repository, _, tag = rest.partition(":")
        return cls(
            repository_name(repository),
            tag_name(tag) if tag else None,
            digest_name(digest) if digest else None,
        )
