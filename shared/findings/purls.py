"""Package URLs, and whether one names what another one is.

Sources: https://github.com/package-url/purl-spec/blob/main/PURL-SPECIFICATION.rst (the grammar) and
https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md#product (a purl with fewer parts names more packages).
"""

from urllib.parse import unquote

from msgspec import Struct

LIMIT_CHARACTERS = 4096
"""A longer text is no purl."""

IMAGE_TYPES = frozenset(("oci", "docker"))
"""The types of purls that name container images."""


class Purl(Struct, frozen=True, gc=False):
    """A package URL: `name` includes the namespace, `qualifiers` are `key=value`, `subpath` is a part of the package.

    Letter case does not count.
    """

    kind: str
    name: str
    version: str = ""
    qualifiers: tuple[str, ...] = ()
    subpath: str = ""

    @property
    def identity(self) -> str:
        """Type and name: the package, whatever its version."""
        return f"{self.kind}/{self.name}"

    def names(self, other: "Purl") -> bool:
        """Whether the other one is this package: of this version and subpath, and with these qualifiers, if it has
        them.
        """
        if self.identity != other.identity or self.version not in ("", other.version):
            return False
        return self.subpath in ("", other.subpath) and set(self.qualifiers) <= set(other.qualifiers)


def parse_purl(text: str) -> Purl | None:
    """The purl in a text; None if it is none."""
    scheme, colon, rest = text.partition(":")
    if not colon or scheme.lower() != "pkg" or len(text) > LIMIT_CHARACTERS:
        return None
    rest, _, subpath = rest.partition("#")
    path, _, query = rest.strip("/").partition("?")
    path, version = _versioned(path.rstrip("/"))
    kind, _, name = path.partition("/")
    if not kind or not name:
        return None
    kind, name = kind.lower(), unquote(name).lower()
    if kind == "pypi":
        name = name.replace("_", "-")
    qualifiers = tuple(unquote(part).lower() for part in query.split("&") if part)
    return Purl(kind, name, unquote(version), qualifiers, unquote(subpath).strip("/").lower())


def _versioned(path: str) -> tuple[str, str]:
    """A path without its version, and the version. The @ of a scope (`@angular/core`) begins none."""
    before, at, version = path.rpartition("@")
    begins_a_name = not before or before.endswith("/")
    return (before, version) if at and not begins_a_name else (path, "")
