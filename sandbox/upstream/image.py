"""docker.io/library/node:15-alpine, made once and kept as files."""

from __future__ import annotations

import json
import platform
import tempfile
from pathlib import Path

from sandbox.registry.oci import OciImage
from sandbox.upstream.layer import make_layer
from sandbox.upstream.parts import NODE_VERSION, UpstreamError, fetch_parts, find_busybox
from sandbox.upstream.rootfs import make_rootfs

__all__ = ["UpstreamError", "load_upstream"]

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def load_upstream(tools: Path) -> OciImage:
    """The image, from the files below `tools/upstream`, which are made on first use.

    Raises:
        UpstreamError: a part cannot be had.
    """
    folder = tools / "upstream"
    config, layer = folder / "config.json", folder / "layer.tar.gz"
    if not config.exists():
        node, npm = fetch_parts(folder / "parts")
        with tempfile.TemporaryDirectory(prefix="basegate-rootfs-") as scratch:
            root = Path(scratch) / "root"
            root.mkdir()
            make_rootfs(root, find_busybox(), node, npm)
            content, diff_id = make_layer(root)
        layer.write_bytes(content)
        beside = config.with_suffix(".new")
        beside.write_bytes(image_config(diff_id))
        beside.rename(config)  # last: who finds it finds the layer too
    return OciImage(config.read_bytes(), (layer.read_bytes(),))


def image_config(diff_id: str) -> bytes:
    """The image's configuration: what docker.io/library/node sets that a Dockerfile may rely on."""
    document = {
        "architecture": _ARCHITECTURES.get(platform.machine(), "amd64"),
        "os": "linux",
        "config": {"Env": [_PATH, f"NODE_VERSION={NODE_VERSION}"], "Cmd": ["node"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "stand-in for docker.io/library/node:15-alpine"}],
    }
    return json.dumps(document, separators=(",", ":")).encode()
