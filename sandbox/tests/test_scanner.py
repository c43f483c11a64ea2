"""The stand-in scanner: what it finds in small images of four kinds, and what it refuses to read."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from sandbox.scanner.__main__ import main
from sandbox.scanner.advisories import Advisories, NotComparable
from sandbox.scanner.cvss import base_score, severity_of
from sandbox.scanner.errors import ScanError
from sandbox.scanner.layers import Layer, read_files
from sandbox.scanner.packages import DATABASES, Package, Release, inventory_of, tells_of_packages

ADVISORIES = Path(__file__).parents[1] / "scanner" / "advisories"
NOWHERE = Layer("sha256:" + "0" * 64, "", open=io.BytesIO)

DEBIAN = {
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12"\nVERSION_ID="12"\nID=debian\n',
    "var/lib/dpkg/status": (
        "Package: libdemo3\nStatus: install ok installed\nArchitecture: amd64\nSource: demo-tls (3.0.11-1~deb12u1)\n"
        "Version: 3.0.11-1~deb12u1+b1\nDescription: text\n of two lines\n\n"
        "Package: demo-tls\nStatus: deinstall ok config-files\nVersion: 3.0.1-1\n\n"
        "Package: zlib1g\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:1.2.13.dfsg-1\n"
    ),
    "var/lib/dpkg/status.d/tzdata": "Package: tzdata\nVersion: 2024a-0+deb12u1\nArchitecture: all\n",
    "var/lib/dpkg/status.d/tzdata.md5sums": "0123  usr/share/zoneinfo/UTC\n",
}
ALPINE = {
    "etc/os-release": "ID=alpine\nVERSION_ID=3.19.1\n",
    "lib/apk/db/installed": (
        "C:Q1abc=\nP:libdemo\nV:3.1.4-r4\nA:x86_64\no:demo-tls\nF:lib\nR:libdemo.so.3\n\nP:musl\nV:1.2.4_git20230717-r4\n"
    ),
}
NODE = {
    "usr/lib/node_modules/npm/package.json": '{"name": "npm", "version": "7.7.6"}',
    "usr/lib/node_modules/npm/node_modules/demo-colour/package.json": '{"name": "demo-colour", "version": "1.0.1"}',
    "app/node_modules/@demo/tool/package.json": '{"name": "@demo/tool", "version": "1.0.0"}',
    "app/node_modules/@demo/tool/lib/package.json": '{"name": "demo-colour", "version": "0.1.0"}',
    "app/node_modules/broken/package.json": "{",
    "app/node_modules/demo-layout/package.json": '{"name": "demo-layout", "version": "4.0.0-rc.1"}',
}
PYTHON = {
    "usr/lib/python3/dist-packages/Demo_Requests-2.4.dist-info/METADATA": "Name: Demo_Requests\nVersion: 2.4\n\nText\n",
    "usr/lib/python3/dist-packages/six.egg-info": "Metadata-Version: 1.0\nName: six\nVersion: 1.16.0\n",
    "opt/app.egg-info/PKG-INFO": "Name: app\nVersion: 1.0\n",
}
Content = str | Callable[[tarfile.TarInfo], None]


def tar(files: Mapping[str, Content]) -> bytes:
    """An archive of files; a function in place of a content makes the member something else than a file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            data = content.encode() if isinstance(content, str) else b""
            member.size = len(data)
            if not isinstance(content, str):
                content(member)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def link(target: str) -> Callable[[tarfile.TarInfo], None]:
    def change(member: tarfile.TarInfo) -> None:
        member.type, member.linkname = tarfile.SYMTYPE, target

    return change


def hard_link(target: str) -> Callable[[tarfile.TarInfo], None]:
    def change(member: tarfile.TarInfo) -> None:
        member.type, member.linkname = tarfile.LNKTYPE, target

    return change


def folder(member: tarfile.TarInfo) -> None:
    member.type = tarfile.DIRTYPE


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Layout:
    """An OCI layout of one image, in a folder."""

    def __init__(self, root: Path, layers: Sequence[bytes], *, packed: bool = True) -> None:
        self.root, self.layers = root, layers
        (root / "blobs/sha256").mkdir(parents=True)
        self.diff_ids = [digest(layer) for layer in layers]
        places = [self.blob(gzip.compress(layer, mtime=0) if packed else layer) for layer in layers]
        rootfs = {"type": "layers", "diff_ids": self.diff_ids}
        self.config = {"architecture": "amd64", "os": "linux", "config": {"Env": ["PASSWORD=x"]}, "rootfs": rootfs}
        config = self.blob(json.dumps(self.config).encode())
        manifest = {"schemaVersion": 2, "config": {"digest": config}, "layers": [{"digest": one} for one in places]}
        self.name_image(self.blob(json.dumps(manifest).encode()))

    def blob(self, content: bytes) -> str:
        (self.root / "blobs/sha256" / digest(content).removeprefix("sha256:")).write_bytes(content)
        return digest(content)

    def name_image(self, manifest: str) -> None:
        (self.root / "index.json").write_text(json.dumps({"manifests": [{"digest": manifest}]}))


def scan(path: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main([str(path), *arguments]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def refused(path: Path | str, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([str(path), *arguments]) == 1
    output = capsys.readouterr()
    assert not output.out
    return output.err


def found(report: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    names = ("VulnerabilityID", "PkgID", "FixedVersion", "Severity")
    results = [finding for result in report["Results"] for finding in result["Vulnerabilities"]]
    return [tuple(finding.get(name, "") for name in names) for finding in results]


IMAGES: dict[str, tuple[dict[str, str], list[tuple[str, ...]], str]] = {
    "Debian": (
        DEBIAN,
        [("DEMO-2024-0004", "libdemo3@3.0.11-1~deb12u1+b1", "3.0.11-1~deb12u2", "HIGH")],
        "pkg:deb/debian/libdemo3@3.0.11-1~deb12u1+b1?arch=amd64&distro=debian-12",
    ),
    "Alpine": (
        ALPINE,
        [("DEMO-2024-0005", "libdemo@3.1.4-r4", "3.1.4-r5", "HIGH")],
        "pkg:apk/alpine/libdemo@3.1.4-r4?arch=x86_64&distro=alpine-3.19.1",
    ),
    "Node": (
        NODE,
        [
            ("DEMO-2024-0002", "demo-layout@4.0.0-rc.1", "", "MEDIUM"),
            ("DEMO-2024-0001", "demo-colour@1.0.1", "1.0.2", "HIGH"),
        ],
        "pkg:npm/demo-layout@4.0.0-rc.1",
    ),
    "Python": (
        PYTHON,
        [("DEMO-2024-0003", "Demo_Requests@2.4", "2.4.1", "CRITICAL")],
        "pkg:pypi/demo-requests@2.4",
    ),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_what_an_image_has_is_found_in_its_layers(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, expected, purl = IMAGES[kind]
    report = scan(Layout(tmp_path / "image", [tar(files)]).root, capsys)
    assert found(report) == expected
    assert report["Results"][-1]["Vulnerabilities"][0]["PkgIdentifier"] == {"PURL": purl}


def test_the_report_is_trivys_and_says_what_wrote_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = Layout(tmp_path / "image", [tar(DEBIAN), tar(NODE)])
    report = scan(image.root, capsys)
    assert report["SchemaVersion"] == 2
    assert report["ArtifactType"] == "container_image"
    assert report["Metadata"]["OS"] == {"Family": "debian", "Name": "12"}
    assert report["Metadata"]["DiffIDs"] == image.diff_ids
    assert report["Metadata"]["ImageConfig"]["architecture"] == "amd64"
    assert "PASSWORD" not in json.dumps(report)
    assert datetime.fromisoformat(report["CreatedAt"]).tzinfo
    kinds = [(result["Class"], result["Type"], len(result["Packages"])) for result in report["Results"]]
    assert kinds == [("lang-pkgs", "node-pkg", 4), ("os-pkgs", "debian", 3)]
    finding = report["Results"][0]["Vulnerabilities"][1]
    assert finding["Layer"]["DiffID"] == image.diff_ids[1]
    assert finding["PkgPath"] == "usr/lib/node_modules/npm/node_modules/demo-colour/package.json"
    assert finding["CVSS"] == {"osv": {"V3Vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:H/A:N", "V3Score": 7.5}}
    stand_in = report["StandIn"]
    assert "stand-in" in stand_in["Note"]
    assert (stand_in["Advisories"], stand_in["AdvisoriesModified"]) == (5, "2024-06-01T00:00:00Z")
    assert stand_in["Unreadable"] == ["app/node_modules/broken/package.json"]


def test_every_advisory_that_is_shipped_says_that_it_was_invented() -> None:
    for file in ADVISORIES.glob("*.json"):
        document = json.loads(file.read_text())
        assert document["id"] == file.stem
        assert document["id"].startswith("DEMO-")
        assert document["details"].startswith("Invented for the demo")


def test_the_command_line_of_trivy_is_taken_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, output = Layout(tmp_path / "image", [tar(ALPINE)]).root, tmp_path / "report.json"
    options = ["--quiet", "--scanners", "vuln", "--format", "json", "--output", str(output)]
    assert main(["image", *options, str(image)]) == 0
    said = capsys.readouterr()
    assert not said.out
    assert "osv-match: 1 findings in 2 packages. osv-match is a stand-in" in said.err
    assert found(json.loads(output.read_text()))[0][0] == "DEMO-2024-0005"


def colour(version: str) -> dict[str, str]:
    return {"app/node_modules/demo-colour/package.json": f'{{"name": "demo-colour", "version": "{version}"}}'}


HIDDEN: dict[str, Sequence[Mapping[str, Content]]] = {
    "the file": [colour("1.0.0"), {"app/node_modules/demo-colour/.wh.package.json": ""}],
    "a folder above it": [colour("1.0.0"), {"app/.wh.node_modules": ""}],
    "the content of a folder": [colour("1.0.0"), {"app/.wh..wh..opq": "", "app/server.js": ""}],
    "a file in place of a folder": [colour("1.0.0"), {"app": ""}],
    "a link in place of a folder": [colour("1.0.0"), {"app/node_modules": link("/elsewhere")}],
    "a newer one": [colour("1.0.0"), colour("1.0.2")],
    "a folder in its place": [colour("1.0.0"), {"app/node_modules/demo-colour/package.json": folder}],
    "a path with dots": [colour("1.0.0"), {"./x/../app/.wh.node_modules": ""}],
}
SHOWN: dict[str, Sequence[Mapping[str, Content]]] = {
    "its own layer's whiteout": [{}, {"app/.wh..wh..opq": "", **colour("1.0.0")}],
    "its folder again": [colour("1.0.0"), {"app/node_modules": folder}],
    "a whiteout of another file": [colour("1.0.0"), {"app/node_modules/.wh.demo-colours": ""}],
    "an older one": [colour("1.0.2"), colour("1.0.0")],
    "twice in one layer": [{"./app/node_modules/demo-colour/package.json": "{", **colour("1.0.0")}],
}


@pytest.mark.parametrize("name", [*HIDDEN, *SHOWN])
def test_an_upper_layer_hides_what_it_removes_or_replaces_and_nothing_else(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = HIDDEN.get(name) or SHOWN[name]
    report = scan(Layout(tmp_path / "image", [tar(layer) for layer in layers]).root, capsys)
    assert len(found(report)) == (name in SHOWN)


def test_an_index_is_read_for_the_platform_that_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = Layout(tmp_path / "image", [tar(colour("1.0.0"))])
    manifest = json.loads((image.root / "index.json").read_text())["manifests"][0]
    entry = {**manifest, "platform": {"os": "linux", "architecture": "arm64"}}
    image.name_image(image.blob(json.dumps({"manifests": [entry]}).encode()))
    assert len(found(scan(image.root, capsys, "--platform", "linux/arm64"))) == 1
    assert "the index has no image for linux/amd64" in refused(image.root, capsys)


@pytest.mark.parametrize("packed", [True, False])
def test_an_archive_of_docker_save_and_one_of_a_layout_are_read(
    packed: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layer, image = tar(colour("1.0.0")), Layout(tmp_path / "image", [tar(colour("1.0.0"))], packed=packed)
    saved = {"c.json": json.dumps(image.config), "l/layer.tar": layer.decode()}
    entries = [{"Config": "c.json", "RepoTags": None, "Layers": ["l/layer.tar"]}]
    for name, content in (("saved", tar({**saved, "manifest.json": json.dumps(entries)})), ("layout", b"")):
        path = tmp_path / f"{name}.tar"
        path.write_bytes(content)
        if name == "layout":
            with tarfile.open(path, "w") as archive:
                archive.add(image.root, ".")
        assert len(found(scan(path, capsys))) == 1


def damaged(image: Layout) -> None:
    for blob in (image.root / "blobs/sha256").iterdir():
        if blob.read_bytes()[:2] == b"\x1f\x8b":
            blob.write_bytes(gzip.compress(b"other"))


def with_layer(content: bytes) -> Callable[[Path], Path]:
    return lambda path: Layout(path, [content], packed=False).root


def pretending(size: bytes, kind: bytes = b"0") -> bytes:
    """An archive whose member says that it has another size and kind, with a right checksum."""
    header = bytearray(tar({"a": ""})[:512])
    header[124:136], header[156:157] = size, kind
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(10_240)


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no image": (lambda path: path.with_name("absent"), "neither a file nor the full name of an image"),
    "not a tar archive": (with_layer(b"text" * 1000), "is no readable tar archive"),
    "cut off": (with_layer(tar(DEBIAN)[:700]), "is no readable tar archive"),
    "zstd": (
        with_layer(b"\x28\xb5\x2f\xfd" + bytes(100)),
        "is compressed with zstd, which this stand-in does not read",
    ),
    "no content and less": (with_layer(pretending(b"\xff" * 12)), "less than no content"),
    "too large": (with_layer(pretending(b"\x80" + b"\0" * 5 + b"\x7f" + b"\0" * 5)), "or 16 GiB of them"),
    "a large header": (with_layer(pretending(b"00077777777\0", b"x")), "a header in a layer is too large"),
    "a broken database": (with_layer(tar({"var/lib/dpkg/status": "Package: a\n\nPackage: b\n"})), "not readable"),
    "an empty folder": (lambda path: path.mkdir() or path, "neither index.json nor manifest.json"),  # type: ignore[func-returns-value]
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_image_that_cannot_be_read_whole_has_no_report(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, message = REFUSED[name]
    assert message in refused(make(tmp_path / "image"), capsys)


def test_a_layer_that_is_not_what_its_digest_says_has_no_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = Layout(tmp_path / "image", [tar(DEBIAN)])
    damaged(image)
    assert "what should be sha256:" in refused(image.root, capsys)


@pytest.mark.parametrize("goal", ["../secret", "index.json"])
def test_a_link_out_of_a_layout_or_in_a_circle_is_not_followed(
    goal: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = Layout(tmp_path / "image", [tar(DEBIAN)])
    (tmp_path / "secret").write_text((image.root / "index.json").read_text())
    (image.root / "index.json").unlink()
    (image.root / "index.json").symlink_to(goal)
    assert "has no file index.json" in refused(image.root, capsys)


# The shapes below are those of entries that osv.dev publishes: GHSA, PYSEC, Debian's tracker, Alpine's secdb.
def affected(ecosystem: str, name: str, *events: dict[str, str], type_: str = "ECOSYSTEM") -> dict[str, Any]:
    ranges = [{"type": type_, "events": list(events)}] if events else []
    return {"package": {"ecosystem": ecosystem, "name": name, "purl": "pkg:…"}, "ranges": ranges}


FROM_0 = {"introduced": "0"}
GIT = {"type": "GIT", "repo": "https://github.com/x/y", "events": [FROM_0, {"fixed": "0123abcd"}]}
THING = affected("PyPI", "Some.Thing", {"introduced": "1.0"}, {"last_affected": "1.4"})
XSS = "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N"
REAL: dict[str, dict[str, Any]] = {
    "GHSA": {
        "id": "GHSA-xxxx-0000-0001",
        "aliases": ["CVE-2021-0001"],
        "severity": [{"type": "CVSS_V4", "score": "CVSS:4.0/AV:N"}, {"type": "CVSS_V3", "score": XSS}],
        "affected": [
            affected("npm", "left", FROM_0, {"fixed": "1.5.0"}, type_="SEMVER"),
            affected("npm", "left", {"introduced": "2.0.0"}, {"fixed": "2.3.1"}, type_="SEMVER"),
        ],
        "database_specific": {"severity": "MODERATE", "cwe_ids": ["CWE-79"]},
    },
    "PYSEC": {
        "id": "PYSEC-2021-1",
        "affected": [{**THING, "ranges": [GIT, *THING["ranges"]], "versions": ["0.9", "1.4.post1"]}],
    },
    "Debian": {
        "id": "DEBIAN-CVE-2022-0001",
        "upstream": ["CVE-2022-0001"],
        "affected": [
            affected("Debian:12", "openssl", FROM_0, {"fixed": "3.0.11-1~deb12u2"}),
            affected("Debian:11", "openssl", FROM_0, {"fixed": "0"}),
        ],
    },
    "Alpine": {
        "id": "ALPINE-CVE-2023-0001",
        "affected": [affected("Alpine:v3.19", "busybox", FROM_0, {"fixed": "1.36.1-r10"})],
    },
    "withdrawn": {
        "id": "GHSA-xxxx-0000-0002",
        "withdrawn": "2022-01-01T00:00:00Z",
        "affected": [affected("npm", "left", FROM_0, type_="SEMVER")],
    },
}
DEBIAN_12, DEBIAN_11, ALPINE_319 = Release("debian", "12.5"), Release("debian", "11"), Release("alpine", "3.19.1")
CASES = [
    ("npm", "left", "1.4.9", DEBIAN_12, "GHSA-xxxx-0000-0001", ("1.5.0",), "MEDIUM"),
    ("npm", "left", "1.5.0-rc.1", DEBIAN_12, "GHSA-xxxx-0000-0001", ("1.5.0",), "MEDIUM"),
    ("npm", "left", "1.5.0", DEBIAN_12, "", (), ""),
    ("npm", "left", "2.3.0", Release(), "GHSA-xxxx-0000-0001", ("2.3.1",), "MEDIUM"),
    ("npm", "left", "10.0.0", DEBIAN_12, "", (), ""),
    ("npm", "Left", "1.0.0", DEBIAN_12, "", (), ""),
    ("pypi", "some_thing", "1.4", Release(), "PYSEC-2021-1", (), "UNKNOWN"),
    ("pypi", "SOME-THING", "1.4.post1", Release(), "PYSEC-2021-1", (), "UNKNOWN"),
    ("pypi", "some-thing", "1.4.1", Release(), "", (), ""),
    ("pypi", "some-thing", "0.9", Release(), "PYSEC-2021-1", (), "UNKNOWN"),
    ("pypi", "some-thing", "1.0rc1", Release(), "", (), ""),
    ("deb", "openssl", "3.0.11-1~deb12u1", DEBIAN_12, "DEBIAN-CVE-2022-0001", ("3.0.11-1~deb12u2",), "UNKNOWN"),
    ("deb", "openssl", "3.0.11-1", DEBIAN_12, "", (), ""),
    ("deb", "openssl", "1.1.1n-0", DEBIAN_11, "", (), ""),
    ("deb", "openssl", "1:1.0-1", DEBIAN_12, "", (), ""),
    ("deb", "openssl", "1.0-1", Release("ubuntu", "22.04"), "", (), ""),
    ("apk", "busybox", "1.36.1-r9", ALPINE_319, "ALPINE-CVE-2023-0001", ("1.36.1-r10",), "UNKNOWN"),
    ("apk", "busybox", "1.36.1-r10", ALPINE_319, "", (), ""),
    ("apk", "busybox", "1.9.0-r0", ALPINE_319, "ALPINE-CVE-2023-0001", ("1.36.1-r10",), "UNKNOWN"),
    ("apk", "busybox", "1.36.1-r9", Release("alpine", "3.18.0"), "", (), ""),
]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Advisories:
    root = tmp_path_factory.mktemp("advisories")
    for name, entry in REAL.items():
        (root / f"{name}.json").write_text(json.dumps({"modified": "2024-01-01T00:00:00.5Z", **entry}))
    return Advisories.load(root)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case[:3]) + case[3].version)
def test_entries_as_osv_publishes_them_are_matched_as_osv_says(case: tuple[Any, ...], real: Advisories) -> None:
    kind, name, version, release, advisory, fixes, severity = case
    matches = list(real.about(Package(kind, name, version, "p", NOWHERE), release))
    assert [match.advisory.id for match in matches] == ([advisory] if advisory else [])
    assert [(match.fixed_in, match.advisory.severity) for match in matches] == ([(fixes, severity)] if advisory else [])


def test_a_withdrawn_advisory_does_not_count_and_aliases_are_kept(real: Advisories) -> None:
    assert real.count == len(REAL) - 1
    (match,) = real.about(Package("npm", "left", "1.0.0", "p", NOWHERE), Release())
    assert match.advisory.aliases == ("CVE-2021-0001",)
    assert match.advisory.cvss == (XSS, 6.1)


def test_a_version_that_cannot_be_compared_is_told_and_never_taken_for_a_good_one(real: Advisories) -> None:
    with pytest.raises(NotComparable, match="latest is no version of apk"):
        list(real.about(Package("apk", "busybox", "latest", "p", NOWHERE), ALPINE_319))


@pytest.mark.parametrize("content", ["", "[]", "{", '{"id": "A"}', '{"id": "A", "modified": "soon"}', "[" * 5000])
def test_a_folder_with_a_broken_advisory_is_refused_with_its_name(content: str, tmp_path: Path) -> None:
    (tmp_path / "A.json").write_text(content)
    with pytest.raises(ScanError, match=r"A\.json is no advisory in OSV's format"):
        Advisories.load(tmp_path)


def test_an_empty_folder_of_advisories_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="has 0 advisories"):
        Advisories.load(tmp_path)


def test_scores_are_those_of_the_specifications_examples() -> None:
    """https://www.first.org/cvss/v3.1/examples"""
    assert base_score("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N") == 6.4
    assert base_score("CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N") == 3.1
    assert base_score("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H") == 10.0
    assert base_score("CVSS:3.1/AV:L/AC:L/PR:H/UI:N/S:U/C:L/I:L/A:L") == 4.2
    assert base_score("CVSS:3.1/AV:P/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N") == 0.0
    assert base_score("CVSS:4.0/AV:N/AC:L") is base_score("CVSS:3.1/AV:N") is base_score("") is None
    assert [severity_of(score) for score in (9.0, 7.0, 6.9, 3.9, 0.0)] == [
        "CRITICAL",
        "HIGH",
        "MEDIUM",
        "LOW",
        "UNKNOWN",
    ]


def test_only_files_that_tell_of_packages_are_kept() -> None:
    layer = Layer("sha256:" + "1" * 64, "", open=lambda: io.BytesIO(tar({**NODE, "bin/sh": "x" * 1000})))
    files = read_files([layer], tells_of_packages, DATABASES)
    assert "bin/sh" not in files
    assert "app/node_modules/@demo/tool/lib/package.json" not in files
    assert len(inventory_of(files).packages) == 4


STATUS, TZDATA = DEBIAN["var/lib/dpkg/status"], DEBIAN["var/lib/dpkg/status.d/tzdata"]
INSTALLED = ALPINE["lib/apk/db/installed"]
LINKED: dict[str, tuple[Sequence[Mapping[str, Content]], int]] = {
    "the database": ([{"opt/x": STATUS, "var/lib/dpkg/status": link("../../../opt/x")}], 2),
    "its folder": ([{"opt/dpkg/status": STATUS, "var/lib/dpkg": link("/opt/dpkg")}], 2),
    "a folder above it": ([{"srv/lib/dpkg/status": STATUS, "var": link("srv")}], 2),
    "a link behind a link": (
        [{"a": link("b/../c"), "c": link("/d"), "d/status": STATUS, "var/lib/dpkg": link("/a")}],
        2,
    ),
    "out of the root": ([{"x/status": STATUS, "var/lib/dpkg": link("../../../../../x")}], 2),
    "in another layer": ([{"var/lib/dpkg": link("/opt/dpkg")}, {"opt/dpkg/status": STATUS}], 2),
    "and a newer one in its place": (
        [{"var/lib/dpkg": link("/opt"), "opt/status": ""}, {"var/lib/dpkg/status": STATUS}],
        2,
    ),
    "a folder of databases": (
        [{"opt/d/tz": TZDATA, "opt/d/tz.md5sums": "", "var/lib/dpkg": link("/opt"), "opt/status.d": link("d")}],
        1,
    ),
    "in a folder of databases": ([{"opt/tz": TZDATA, "var/lib/dpkg/status.d/tz": link("/opt/tz")}], 1),
    "a hard link": ([{"opt/x": STATUS, "var/lib/dpkg/status": hard_link("opt/x")}], 2),
    "a hard link to a hard link": ([{"x": STATUS, "y": hard_link("x"), "var/lib/dpkg/status": hard_link("./y")}], 2),
    "a hard link to a link": (
        [{"x/status": STATUS, "y": link("x"), "z": hard_link("y"), "var/lib/dpkg": link("/z")}],
        2,
    ),
    "a hard link of a package": (
        [{"store/1": '{"name": "a", "version": "1"}', "node_modules/a/package.json": hard_link("store/1")}],
        1,
    ),
    "two names": ([{"usr/lib/apk/db/installed": INSTALLED, "lib": link("usr/lib")}], 2),
    "two names of one file": (
        [{"usr/lib/apk/db/installed": INSTALLED, "lib/apk/db/installed": hard_link("usr/lib/apk/db/installed")}],
        2,
    ),
    "no package manager": ([{"usr/bin/x": "", "lib": link("usr/lib"), "usr/bin/X11": link(".")}], 0),
    "a circle elsewhere": ([{"x": link("y"), "y": link("x"), "var/lib/dpkg/status": STATUS}], 2),
    "a folder in place of the link": (
        [{"opt/status": STATUS, "var/lib/dpkg": link("/opt")}, {"var/lib/dpkg": folder}],
        0,
    ),
    "a link that was removed": ([{"opt/status": STATUS, "var/lib/dpkg": link("/opt")}, {"var/lib/.wh.dpkg": ""}], 0),
}


@pytest.mark.parametrize("name", LINKED)
@pytest.mark.attack("an image", "no findings, through a link in the way to its packages", "links are followed")
def test_databases_are_read_once_where_links_lead_inside_the_image(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers, count = LINKED[name]
    report = scan(Layout(tmp_path / "image", [tar(layer) for layer in layers]).root, capsys)
    assert sum(len(result["Packages"]) for result in report["Results"]) == count


def test_the_release_is_read_where_links_lead(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files: dict[str, Content] = {"opt/release": DEBIAN["etc/os-release"], "etc/os-release": link("../opt/release")}
    report = scan(Layout(tmp_path / "image", [tar(files)]).root, capsys)
    assert report["Metadata"]["OS"] == {"Family": "debian", "Name": "12"}


LOST: dict[str, tuple[Mapping[str, Content], str]] = {
    "the database": ({"var/lib/dpkg/status": link("/opt/x")}, "var/lib/dpkg/status is a link to no file"),
    "its folder": ({"lib/apk": link("/opt/apk")}, "lib/apk is a link to no file"),
    "a circle": ({"var/lib/dpkg": link("dpkg")}, "leads in a circle of links"),
    "a hard link": ({"var/lib/dpkg/status": hard_link("opt/x")}, "which its layer does not have"),
    "a chain of hard links": (
        {"9": STATUS}
        | {f"{n}": hard_link(f"{n + 1}") for n in range(8, -1, -1)}
        | {"var/lib/dpkg/status": hard_link("0")},
        "again and again",
    ),
    "a long target": ({"x": link("y/" * 3000)}, "a link to more than 4096 characters"),
}


@pytest.mark.parametrize("name", LOST)
def test_a_database_that_is_a_link_to_nothing_has_no_report(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, message = LOST[name]
    assert message in refused(Layout(tmp_path / "image", [tar({**NODE, **files})]).root, capsys)


def test_packages_of_an_unknown_distribution_are_named_as_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = DEBIAN | {"etc/os-release": "ID=other\n"}
    report = scan(Layout(tmp_path / "image", [tar(files)]).root, capsys)
    assert any("libdemo3" in one for one in report["StandIn"]["Uncompared"])
