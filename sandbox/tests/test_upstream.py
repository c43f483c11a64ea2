"""The stand-in for node:15-alpine: reproducible, kept, and honest about what it could not get."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from sandbox.registry.oci import OciImage
from sandbox.upstream import MissingPart, node_image, scanner_image, tiny_image
from sandbox.upstream.fetch import Package, npm_pack
from sandbox.upstream.node import Node, machine_node
from sandbox.upstream.tree import File, Folder, Link, Tree, make_image

MACHINES = Node({"usr/local/bin/node": File(b"elf", 0o755)}, "20.1.0", "Node 20.1.0 of this machine, without npm")


def unreachable(package: Package, folder: Path) -> Path:
    raise MissingPart(f"npm cannot fetch {package.name}.")


def nothing() -> Node:
    raise MissingPart("this machine has no node.")


def pack(package: Package, folder: Path) -> Path:
    """A package as npm has it, with a node that is no program and an npm of one file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / package.file
    content = {"bin/node": b"#!/bin/sh\n", "include/node.h": b"x", "bin/npm-cli.js": b"npm", "man/npm.1": b"x"}
    with tarfile.open(file, "w:gz") as archive:
        for path, body in content.items():
            member = tarfile.TarInfo(f"package/{path}")
            member.size, member.mode = len(body), 0o755
            archive.addfile(member, io.BytesIO(body))
    return file


def members(image: OciImage) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(image.layers[0]))) as archive:
        return {member.name: member for member in archive}


def environment(image: OciImage) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in json.loads(image.config)["config"]["Env"])


def test_the_same_content_is_the_same_digest() -> None:
    assert tiny_image().manifest.digest == tiny_image().manifest.digest


def test_the_order_of_the_content_does_not_matter_and_the_archive_tells_no_time() -> None:
    one: Tree = {"b": File(b"b"), "a/c": Link("/b"), "tmp": Folder(0o1777)}
    images = [
        make_image(tree, architecture="amd64", environment={}, command=["b"])
        for tree in (one, dict(reversed(list(one.items()))))
    ]
    assert images[0] == images[1]
    found = members(images[0])
    assert list(found) == ["a", "a/c", "b", "tmp"]
    assert {(m.mtime, m.uid, m.gid, m.uname) for m in found.values()} == {(0, 0, 0, "")}
    assert (found["a/c"].linkname, found["tmp"].mode) == ("/b", 0o1777)


def test_the_tiny_image_is_about_a_megabyte_and_has_a_shell() -> None:
    image = tiny_image()
    assert len(image.layers[0]) < 2_000_000
    assert {"bin/sh", "bin/busybox", "usr/bin/env", "etc/passwd", "usr/local/bin/node"} <= set(members(image))


def test_node_and_npm_come_from_the_npm_registry_without_what_no_one_runs(tmp_path: Path) -> None:
    made = node_image(tmp_path, fetch=pack)
    found = members(made.image)
    assert "usr/local/lib/node_modules/npm/bin/npm-cli.js" in found
    assert "usr/local/lib/node_modules/npm/man/npm.1" not in found
    assert (found["usr/local/bin/node"].mode, found["usr/local/bin/npm"].issym()) == (0o755, True)


def test_a_second_start_reads_what_the_first_made(tmp_path: Path) -> None:
    first = node_image(tmp_path, fetch=pack)
    if not first.faithful:
        pytest.skip("Node 15 is there for amd64 only; a poorer image is not kept")
    assert node_image(tmp_path, fetch=unreachable, machine=nothing) == first


def test_a_kept_image_that_was_damaged_is_made_anew(tmp_path: Path) -> None:
    first = node_image(tmp_path, fetch=pack)
    for file in tmp_path.glob("sha256-*"):
        file.write_bytes(b"damaged")
    assert node_image(tmp_path, fetch=pack) == first


def test_without_the_npm_registry_the_machines_own_node_is_taken_and_the_image_says_so(tmp_path: Path) -> None:
    made = node_image(tmp_path, fetch=unreachable, machine=lambda: MACHINES)
    assert (made.faithful, environment(made.image)["STAND_IN"]) == (False, MACHINES.origin)
    assert environment(made.image)["NODE_VERSION"] == "20.1.0"
    assert "npm cannot fetch" in made.description
    assert not list(tmp_path.glob("image-*"))


def test_without_any_node_a_script_shows_a_page_and_the_reasons_are_told(tmp_path: Path) -> None:
    made = node_image(tmp_path, fetch=unreachable, machine=nothing)
    assert "usr/share/stand-in/cgi-bin/index.cgi" in members(made.image)
    assert made.description.startswith("no Node at all")
    assert "this machine has no node." in made.description


def test_a_machine_without_busybox_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPart, match="install the package busybox-static"):
        tiny_image()


def test_a_node_that_is_a_script_is_not_put_into_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "node").write_text("#!/bin/sh\nexec real-node\n")
    (tmp_path / "node").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPart, match="is a script, not Node itself"):
        machine_node()


def npm_that(folder: Path, script: str) -> None:
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo other > x-1.tgz", "npm fetched other content than x@1"),
        ("echo 'npm error ENOTFOUND' >&2; exit 1", "npm cannot fetch x@1: npm error ENOTFOUND"),
    ],
)
def test_npm_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, expected: str) -> None:
    npm_that(tmp_path, script)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(MissingPart, match=expected):
        npm_pack(Package("x", "1", "expected"), tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_the_scanners_image_has_all_that_the_scanner_imports_and_a_python(tmp_path: Path) -> None:
    image, found = scanner_image(), dict[str, str]()
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(image.layers[0]))) as archive:
        for member in archive:
            found[member.name] = member.linkname
            if member.name.startswith("opt/") and (content := archive.extractfile(member)):
                (tmp_path / member.name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / member.name).write_bytes(content.read())
    assert "opt/osv-match/sandbox/scanner/advisories/DEMO-2024-0001.json" in found
    assert not [name for name in found if "/test/" in name or name.endswith(".pyc") or ".." in name]
    assert found["usr/bin/python3"].lstrip("/") in found
    assert json.loads(image.config)["config"]["Entrypoint"] == ["/usr/bin/python3", "-m", "sandbox.scanner"]
    assert sum(map(len, image.layers)) < 40_000_000
    alone = [sys.executable, "-S", "-B", "-m", "sandbox.scanner", "--help"]
    environment = {"PYTHONPATH": str(tmp_path / "opt/osv-match")}
    done = subprocess.run(alone, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "a stand-in for a scanner" in done.stdout
