"""Which packages an image has, by the files in which package managers record what they installed.

Sources: https://www.debian.org/doc/debian-policy/ch-controlfields.html, https://wiki.alpinelinux.org/wiki/Apk_spec,
https://docs.npmjs.com/cli/configuring-npm/package-json, https://packaging.python.org/specifications/core-metadata/
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from sandbox.scanner.errors import ScanError
from sandbox.scanner.layers import Found, Layer

_MOST_PACKAGES = 100_000
_DPKG, _DPKG_FOLDER = "var/lib/dpkg/status", "var/lib/dpkg/status.d/"
_APK = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_OF_THE_SYSTEM = frozenset(("deb", "apk"))
_OS_RELEASE = ("etc/os-release", "usr/lib/os-release")
DATABASES = (_DPKG, _DPKG_FOLDER.rstrip("/"), *_APK, *_OS_RELEASE)
"""Where Debian and Alpine record their packages and their release: files, and a folder of files."""

_NPM = re.compile(r"(?:.*/)?node_modules/(?:@[^/]+/)?[^/@][^/]*/package\.json")
_PYPI = re.compile(r"(?:.*/)?[^/]+\.(?:dist-info/METADATA|egg-info/PKG-INFO|egg-info)")
_SOURCE = re.compile(r"(\S+)(?: \((\S+)\))?")


@dataclass(frozen=True, slots=True)
class Release:
    """The distribution of an image, as its os-release names it: `debian` and `12.5`; empty if it has none."""

    family: str = ""
    version: str = ""

    @property
    def ecosystem(self) -> str:
        """The name of the distribution's release in OSV; "" if it is none that this stand-in knows."""
        major, _, rest = self.version.partition(".")
        if self.family == "debian" and major:
            return f"Debian:{major}"
        if self.family == "alpine" and rest:
            return f"Alpine:v{major}.{rest.partition('.')[0]}"
        return ""


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package. `kind` is its type in a package URL: deb, apk, npm or pypi.

    `source` and `source_version` are those of the package that it was built from, which advisories of distributions
    are about.
    """

    kind: str
    name: str
    version: str
    path: str
    layer: Layer
    architecture: str = ""
    source: str = ""
    source_version: str = ""

    @property
    def id(self) -> str:
        """How a report refers to it."""
        return f"{self.name}@{self.version}"

    def purl(self, release: Release) -> str:
        """Its package URL (https://github.com/package-url/purl-spec)."""
        name = "/".join(quote(part, safe="") for part in self.name.split("/"))
        version = quote(self.version, safe=":+~")
        if self.kind not in ("deb", "apk"):
            return f"pkg:{self.kind}/{_normalized(name) if self.kind == 'pypi' else name}@{version}"
        qualifiers = {"arch": self.architecture, "distro": f"{release.family}-{release.version}".strip("-")}
        query = "&".join(f"{key}={quote(value, safe='')}" for key, value in qualifiers.items() if value)
        return f"pkg:{self.kind}/{release.family or 'unknown'}/{name}@{version}" + (f"?{query}" if query else "")


@dataclass(frozen=True, slots=True)
class Inventory:
    """What an image has: its distribution, its packages, and the paths of npm's and Python's files without any."""

    release: Release
    packages: tuple[Package, ...]
    unreadable: tuple[str, ...]


def tells_of_packages(path: str) -> bool:
    """Whether a file of an image tells of packages, or of the distribution."""
    if path in (_DPKG, *_APK, *_OS_RELEASE):
        return True
    if path.startswith(_DPKG_FOLDER):
        return not path.endswith(".md5sums")
    return bool(_NPM.fullmatch(path) or _PYPI.fullmatch(path))


def inventory_of(files: Mapping[str, Found]) -> Inventory:
    """The packages that these files of an image tell of. A database that has several names counts once.

    Raises:
        ScanError: there are more than 100,000, or a package manager's database is not as it should be: what follows in
            it would be overlooked.
    """
    packages: list[Package] = []
    unreadable: list[str] = []
    read: set[tuple[str, bytes]] = set()
    for path, found in sorted(files.items()):
        kind = _kind_of(path)
        if kind in _OF_THE_SYSTEM:
            if (kind, found.content) in read:
                continue
            read.add((kind, found.content))
        try:
            packages += _READERS[kind](path, found)
        except (ValueError, RecursionError) as error:
            if kind in _OF_THE_SYSTEM:
                raise ScanError(f"{path} of the image is not readable: {error}") from error
            unreadable.append(path)
        if len(packages) > _MOST_PACKAGES:
            raise ScanError(f"the image has more than {_MOST_PACKAGES} packages")
    return Inventory(_release(files), tuple(packages), tuple(unreadable))


def _kind_of(path: str) -> str:
    if path in _OS_RELEASE:
        return "release"
    if path == _DPKG or path.startswith(_DPKG_FOLDER):
        return "deb"
    if path in _APK:
        return "apk"
    return "npm" if path.endswith("/package.json") else "pypi"


def _release(files: Mapping[str, Found]) -> Release:
    for path in _OS_RELEASE:
        if path in files:
            pairs = (line.partition("=") for line in _text(files[path]).splitlines())
            values = {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
            return Release(values.get("ID", "").lower(), values.get("VERSION_ID", ""))
    return Release()


def _dpkg(path: str, found: Found) -> Iterator[Package]:
    for paragraph in re.split(r"\n[ \t]*\n", _text(found)):
        fields = dict(_fields(paragraph))
        if not fields:
            continue
        if not fields.get("Status", "install ok installed").endswith(" installed"):
            continue
        name, version = fields.get("Package", ""), fields.get("Version", "")
        if not name or not version:
            raise ValueError("a paragraph without a name or a version")
        source = _SOURCE.fullmatch(fields.get("Source", ""))
        of, at = (source[1], source[2] or version) if source else (name, version)
        yield Package("deb", name, version, path, found.layer, fields.get("Architecture", ""), of, at)


def _apk(path: str, found: Found) -> Iterator[Package]:
    for paragraph in re.split(r"\n\n+", _text(found)):
        fields = {line[0]: line[2:] for line in paragraph.splitlines() if line[1:2] == ":"}
        if not paragraph.strip():
            continue
        name, version = fields.get("P", ""), fields.get("V", "")
        if not name or not version:
            raise ValueError("a paragraph without a name or a version")
        yield Package("apk", name, version, path, found.layer, fields.get("A", ""), fields.get("o") or name, version)


def _npm(path: str, found: Found) -> Iterator[Package]:
    """A package.json without a name or a version is no package of its own: parts of packages have such."""
    document = json.loads(found.content)
    if not isinstance(document, dict):
        raise ValueError("no object")  # noqa: TRY004 (a file that cannot be read, like any other)
    name, version = document.get("name"), document.get("version")
    if isinstance(name, str) and isinstance(version, str) and name and version:
        yield Package("npm", name, version, path, found.layer)


def _pypi(path: str, found: Found) -> Iterator[Package]:
    fields = dict(_fields(_text(found).replace("\r\n", "\n").partition("\n\n")[0]))
    name, version = fields.get("Name", ""), fields.get("Version", "")
    if not name or not version:
        raise ValueError("no name or no version")
    yield Package("pypi", name, version, path, found.layer)


_READERS: dict[str, Callable[[str, Found], Iterator[Package]]] = {
    "release": lambda path, found: iter(()),
    "deb": _dpkg,
    "apk": _apk,
    "npm": _npm,
    "pypi": _pypi,
}


def _fields(paragraph: str) -> Iterator[tuple[str, str]]:
    """The fields of a paragraph, without lines that continue one."""
    for line in paragraph.splitlines():
        key, colon, value = line.partition(":")
        if colon and not line[:1].isspace():
            yield key, value.strip()


def _text(found: Found) -> str:
    return found.content.decode(errors="replace")


def _normalized(name: str) -> str:
    """A name as PyPI compares it (https://packaging.python.org/specifications/name-normalization/)."""
    return re.sub(r"[-_.]+", "-", name).lower()
