"""Small images with packages that real scanners know, written as an OCI layout and as an archive of `docker save`.

Sources: https://github.com/opencontainers/image-spec/blob/main/image-layout.md,
https://github.com/moby/docker-image-spec/blob/main/v1.2.md#combined-image-json--filesystem-changeset-format
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from sandbox.testing import OciImage, with_files

_CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "config": {},
    "rootfs": {"type": "layers", "diff_ids": []},
}


def _alpine(release: str, **packages: str) -> dict[str, bytes]:
    """What tells the release of Alpine, and its installed packages with their versions."""
    entries = [f"P:{name}\nV:{version}\nA:x86_64\no:{name}\nL:MIT\n\n" for name, version in packages.items()]
    return {
        "etc/alpine-release": f"{release}\n".encode(),
        "etc/os-release": f'NAME="Alpine Linux"\nID=alpine\nVERSION_ID={release}\n'.encode(),
        "lib/apk/db/installed": "".join(entries).encode(),
    }


FILES: Mapping[str, Mapping[str, bytes]] = {
    "nothing known": _alpine("3.10.9", **{"alpine-keys": "2.1-r2"}),
    "an old openssl": _alpine("3.10.9", **{"alpine-keys": "2.1-r2"}, openssl="1.1.1d-r2"),
    "an old lodash": _alpine("3.10.9", **{"alpine-keys": "2.1-r2"})
    | {"usr/lib/node_modules/lodash/package.json": b'{"name": "lodash", "version": "4.17.15", "license": "MIT"}'},
}
"""The images by what is in them. Of the second and the third a real advisory is in `advisories`."""


def image_of(files: Mapping[str, bytes]) -> OciImage:
    """An image of one layer with these files."""
    return with_files(OciImage(json.dumps(_CONFIG).encode(), (), format="oci"), files)


def write_layout(image: OciImage, folder: Path) -> Path:
    """Write an image as an OCI layout."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    manifest = image.manifest
    for content, digest in (*image.blobs, (manifest.body, manifest.digest)):
        (blobs / digest.removeprefix("sha256:")).write_bytes(content)
    entry = {"mediaType": manifest.media_type, "digest": manifest.digest, "size": len(manifest.body)}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


def write_archive(image: OciImage, file: Path) -> Path:
    """Write an image as `docker save` does."""
    layers = {f"{number}/layer.tar": content for number, content in enumerate(image.layers)}
    described = [{"Config": "config.json", "RepoTags": None, "Layers": list(layers)}]
    parts = {"config.json": image.config, **layers, "manifest.json": json.dumps(described).encode()}
    with tarfile.open(file, "w") as archive:
        for name, content in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file
