"""Reads image names as the dependency scan of ACR Tasks does, which differs from Docker in places.

Sources: https://github.com/Azure/acr-builder (`scan/dependencies.go`, `util/prefixes.go`) and, for the grammar,
https://github.com/distribution/distribution/blob/v2.8.2/reference/reference.go
"""

from __future__ import annotations

import re

from sandbox.tasks.outcome import ImageReference

DOCKER_HUB = "registry.hub.docker.com"
SCRATCH = "scratch:latest"

_LONGEST_NAME = 255
_HEX_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}
_LABEL = "[a-zA-Z0-9]+(?:-+[a-zA-Z0-9]+)*"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*(?::[0-9]+)?"
_COMPONENT = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_ALGORITHM = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*"
_REFERENCE = re.compile(
    rf"(?P<name>(?:(?P<domain>{_DOMAIN})/)?(?P<path>{_COMPONENT}(?:/{_COMPONENT})*))"
    rf"(?::(?P<tag>\w[\w.-]{{0,127}}))?(?:@(?P<algorithm>{_ALGORITHM}):(?P<hex>[0-9a-fA-F]{{32,}}))?",
    re.ASCII,
)


class InvalidReference(ValueError):
    """A name is no image reference; the message is ACR's."""


def with_tag(name: str) -> str:
    """The name with `:latest` if it has neither a tag nor a digest. A port counts as a tag, as in ACR."""
    return name if ":" in name or "@" in name else f"{name}:latest"


def read_reference(name: str) -> ImageReference:
    """The parts of an image name, as ACR records them.

    The registry of a name without a host is `registry.hub.docker.com`; a host without a dot counts as an owner there.

    Raises:
        InvalidReference: the name is invalid.
    """
    match = _REFERENCE.fullmatch(name)
    if match is None:
        lower = _REFERENCE.fullmatch(name.lower())
        raise _invalid(name, "repository name must be lowercase" if lower else "invalid reference format")
    if len(match["name"]) > _LONGEST_NAME:
        raise _invalid(name, f"repository name must not be more than {_LONGEST_NAME} characters")
    domain, path, digest = match["domain"] or "", match["path"], ""
    if match["algorithm"]:
        digest = f"{match['algorithm']}:{match['hex']}"
        _check_digest(name, match["algorithm"], match["hex"])
    if "." in domain:
        return ImageReference(domain, path, match["tag"] or "", digest)
    return ImageReference(DOCKER_HUB, f"{domain or 'library'}/{path}", match["tag"] or "", digest)


def _check_digest(name: str, algorithm: str, value: str) -> None:
    if algorithm not in _HEX_DIGITS:
        raise _invalid(name, "unsupported digest algorithm")
    if len(value) != _HEX_DIGITS[algorithm]:
        raise _invalid(name, "invalid checksum digest length")
    if value != value.lower():
        raise _invalid(name, "invalid checksum digest format")


def _invalid(name: str, reason: str) -> InvalidReference:
    return InvalidReference(f"Failed to parse image reference, ensure tags have a valid format: {name[:300]}: {reason}")
