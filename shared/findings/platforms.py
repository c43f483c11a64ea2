"""The platforms of an image, and which of them a report is about. Pure.

An image for several platforms is an index, which has one manifest for each. A scanner reads one of them, while all are
promoted.

Sources: https://github.com/opencontainers/image-spec/blob/main/image-index.md,
https://github.com/containerd/platforms/blob/main/database.go (which variants are the same), and
https://docs.docker.com/build/metadata/attestations/attestation-storage/ (the platform `unknown/unknown`)
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from shared.domain.errors import Malformed
from shared.domain.image import short
from shared.findings.gathering import printable
from shared.findings.model import Subject

LIMIT_NAMED = 20
"""How many platforms are named; the rest is counted."""

_NAME_CHARACTERS = 60
_USUAL_VARIANTS = {"amd64": "v1", "arm64": "v8", "arm": "v7"}
"""By architecture: the variant that is meant where none is written."""


class Platform(Struct, frozen=True):
    """A platform of an index: its name for people, the digest of its manifest, and its parts."""

    name: str
    digest: str
    os: str = ""
    architecture: str = ""
    variant: str = ""


class Scanned(Struct, frozen=True):
    """Which platform of an image a report is about, "" if it does not tell, and which others the image has."""

    platform: str = ""
    others: tuple[str, ...] = ()


class _Platform(Struct, rename={"version": "os.version"}):
    os: str = ""
    architecture: str = ""
    variant: str = ""
    version: str = ""


class _Manifest(Struct):
    digest: str = ""
    platform: _Platform | None = None


class _Index(Struct):
    manifests: list[_Manifest] | None = None


def platforms_of(manifest: bytes) -> tuple[Platform, ...]:
    """The platforms of an index; none of the manifest of an image, which is of one platform.

    Attestations of BuildKit, which have the platform `unknown/unknown`, are left out: nothing runs them.

    Raises:
        Malformed: it is no manifest.
    """
    try:
        listed = msgspec.json.decode(manifest, type=_Index).manifests or []
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("manifest", "the image's manifest cannot be read") from error
    return tuple(_platform(one) for one in listed if one.platform is None or one.platform.os != "unknown")


def scanned_of(platforms: Sequence[Platform], subject: Subject) -> Scanned:
    """Which of an image's platforms a report about a subject is about, and which it is not.

    It is told by the digest of the platform's manifest, or else by its name. Where several have that name, or the
    report tells none, it is about none of them.
    """
    found = _scanned(platforms, subject)
    others = list(dict.fromkeys(one.name for one in platforms if one not in found))
    if len(others) > LIMIT_NAMED:
        others[LIMIT_NAMED:] = [f"{len(others) - LIMIT_NAMED} more"]
    return Scanned(", ".join(one.name for one in found) or subject.platform, tuple(others))


def warning(platform: str, unscanned: Sequence[str]) -> str:
    """What a person should know of platforms that no report is about; "" if there are none."""
    if not unscanned:
        return ""
    about = f"is about {platform}" if platform else "does not tell its platform"
    return f"promoted without a scan: {', '.join(unscanned)} (the report {about})"


def _platform(entry: _Manifest) -> Platform:
    one = entry.platform or _Platform()
    name = "/".join(filter(None, (one.os, one.architecture, one.variant)))
    if one.version:
        name = f"{name} {one.version}"
    name = name or f"a manifest without a platform ({short(entry.digest)})"
    return Platform(printable(name[:_NAME_CHARACTERS]), entry.digest, one.os, one.architecture, one.variant)


def _scanned(platforms: Sequence[Platform], subject: Subject) -> Sequence[Platform]:
    if by_digest := [one for one in platforms if one.digest in subject.digests]:
        return by_digest
    if not subject.platform:
        return platforms if len(platforms) == 1 else ()
    os, _, rest = subject.platform.partition("/")
    architecture, _, variant = rest.partition("/")
    family = [one for one in platforms if (one.os, one.architecture) == (os, architecture)]
    usual = _USUAL_VARIANTS.get(architecture, "")
    same = [one for one in family if (one.variant or usual) == (variant or usual)] if variant else family
    return same if len(same) == 1 else ()
