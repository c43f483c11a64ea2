"""Builds and caches the images that replace Docker Hub's `node:15-alpine`.

The real image is better if Docker Hub can be reached, but the sandbox must not depend on that: it uses Node 15 from
the npm registry, BusyBox from this machine, and the C library that Node needs, in one layer. There is no option to
copy the real image; `skopeo copy docker://docker.io/library/node:15-alpine …` into the stand-in hub does that.
"""

from __future__ import annotations

import hashlib
import logging
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from sandbox.registry.oci import OciImage, digest_of
from sandbox.upstream.busybox import busybox_tree
from sandbox.upstream.fetch import Fetch, MissingPart, npm_pack
from sandbox.upstream.node import Node, machine_node, no_node, released_node
from sandbox.upstream.tree import File, Tree, make_image

log = logging.getLogger(__name__)

_RECIPE = 1  # incremented when the same parts result in another image
_FAITHFUL_VERSION = "15."
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class StandIn:
    """An image with a description of its content. `faithful`: it has Node 15, like the real image."""

    image: OciImage
    description: str
    faithful: bool


class _Cached(msgspec.Struct, frozen=True):
    config: str
    layer: str
    description: str
    faithful: bool


def node_image(tools: Path, *, fetch: Fetch = npm_pack, machine: Callable[[], Node] = machine_node) -> StandIn:
    """The stand-in for `node:15-alpine` with the best available Node, from the cache in `tools` or newly built.

    Only a faithful image is cached: otherwise, the next start tries to build a better one. A build blocks for some
    seconds, so call it in a thread.

    Args:
        tools: the cache folder, such as `.tools/node15`.
        fetch: fetches a package of the npm registry.
        machine: returns the Node of this machine, the second choice. The last choice is a shell script.

    Raises:
        MissingPart: if BusyBox is missing.
    """
    base = busybox_tree()
    architecture = _architecture()
    key = tools / f"image-{architecture}-{_fingerprint(base)}.json"
    cached = _read(key)
    if cached:
        return cached
    node, reasons = _best_node(architecture, tools, fetch, machine)
    faithful = node.version.startswith(_FAITHFUL_VERSION)
    description = node.origin + (f" ({' '.join(reasons)})" if reasons else "")
    environment = {"PATH": PATH, "NODE_VERSION": node.version or "none"}
    if not faithful:
        log.warning("The stand-in for node:15-alpine has %s", description)
        environment["STAND_IN"] = node.origin
    image = make_image({**base, **node.tree}, architecture=architecture, environment=environment, command=["node"])
    built = StandIn(image, description, faithful)
    if faithful:
        _write(key, built)
    return built


def tiny_image() -> OciImage:
    """A base image of one megabyte for fast tests: BusyBox, and a script in place of Node that serves a page.

    Raises:
        MissingPart: if this machine has no BusyBox.
    """
    node = no_node()
    environment = {"PATH": PATH, "NODE_VERSION": "none", "STAND_IN": node.origin}
    tree = {**busybox_tree(), **node.tree}
    return make_image(tree, architecture=_architecture(), environment=environment, command=["node", "server.js"])


def _best_node(architecture: str, tools: Path, fetch: Fetch, machine: Callable[[], Node]) -> tuple[Node, list[str]]:
    reasons: list[str] = []
    attempts: tuple[Callable[[], Node], ...] = (partial(released_node, architecture, tools, fetch), machine)
    for attempt in attempts:
        try:
            return attempt(), reasons
        except MissingPart as missing:
            reasons.append(str(missing))
    return no_node(), reasons


def _architecture() -> str:
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def _fingerprint(base: Tree) -> str:
    digest = hashlib.sha256(f"recipe {_RECIPE}".encode())
    for path, entry in sorted(base.items()):
        digest.update(path.encode())
        digest.update(entry.content if isinstance(entry, File) else repr(entry).encode())
    return digest.hexdigest()[:16]


def _read(key: Path) -> StandIn | None:
    try:
        cached = msgspec.json.decode(key.read_bytes(), type=_Cached)
        config, layer = ((key.parent / name.replace(":", "-")).read_bytes() for name in (cached.config, cached.layer))
    except (OSError, msgspec.MsgspecError):
        return None
    if (digest_of(config), digest_of(layer)) != (cached.config, cached.layer):
        return None
    return StandIn(OciImage(config, (layer,)), cached.description, cached.faithful)


def _write(key: Path, built: StandIn) -> None:
    key.parent.mkdir(parents=True, exist_ok=True)
    for content, digest in built.image.blobs:
        (key.parent / digest.replace(":", "-")).write_bytes(content)
    config, layer = (digest for _, digest in built.image.blobs)
    # Written last, so that the files that it names exist.
    key.write_bytes(msgspec.json.encode(_Cached(config, layer, built.description, built.faithful)))
