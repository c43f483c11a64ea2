"""Names of images, parsed once at the edge: digests, tags, repositories, references.

What is invalid raises `Malformed`, which names the `field`.

Grammar: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
"""

import re
from typing import NewType
from urllib.parse import quote

import msgspec

from shared.domain.errors import Malformed

Digest = NewType("Digest", str)
"""`sha256:` and 64 hexadecimal digits: the hash of the manifest."""

Tag = NewType("Tag", str)
"""A name that can be moved to another digest."""

Repository = NewType("Repository", str)
"""A repository of a registry, e.g. `library/node`."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_WORDS = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"(?!.{{256}}){_WORDS}(?:/{_WORDS})*")


def parse_digest(text: object, field: str = "digest") -> Digest:
    """A digest."""
    return Digest(_matched(_DIGEST, text, field, "a digest (sha256: and 64 hexadecimal digits)"))


def parse_tag(text: object, field: str = "tag") -> Tag:
    """A tag."""
    return Tag(_matched(_TAG, text, field, "a tag (1 to 128 of A-Z a-z 0-9 . _ -)"))


def is_tag(text: str) -> bool:
    """Whether a text is a tag."""
    return _TAG.fullmatch(text) is not None


def parse_repository(text: object, field: str = "repository") -> Repository:
    """A repository."""
    return Repository(_matched(_REPOSITORY, text, field, "a repository (lower-case words, joined by / . _ -)"))


def digest_tag(digest: str, suffix: str = "") -> str:
    """The tag that is named after a digest, `sha256-` and its digits: of an index of what refers to it, or, with a
    suffix, of what cosign attaches.

    Sources: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema,
    https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#tag-based-discovery
    """
    return f"{digest.replace(':', '-')}{suffix}"


def short(digest: str) -> str:
    """The first twelve digits of a digest, for names and log lines."""
    return digest.removeprefix("sha256:")[:12]


class ImageRef(msgspec.Struct, frozen=True):
    """One image by digest, in one registry (`login_server` is its host name)."""

    login_server: str
    repository: Repository
    digest: Digest

    def __str__(self) -> str:
        return f"{self.login_server}/{self.repository}@{self.digest}"


def purl(image: ImageRef, tag: str = "") -> str:
    """The package URL of an image: https://github.com/package-url/purl-spec/blob/main/types-doc/oci-definition.md."""
    name, where = image.repository.rpartition("/")[2], quote(f"{image.login_server}/{image.repository}", safe="/")
    tagged = f"&tag={quote(tag, safe='')}" if tag else ""
    return f"pkg:oci/{name}@{quote(image.digest, safe='')}?repository_url={where}{tagged}"


def _matched(pattern: re.Pattern[str], text: object, field: str, what: str) -> str:
    """The text if it has the form; the error shows it cut to a length that fits a log line."""
    if isinstance(text, str) and pattern.fullmatch(text):
        return text
    raise Malformed(field, f"{repr(text)[:80]} is not {what}")
