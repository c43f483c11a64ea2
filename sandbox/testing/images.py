"""Test images of a few bytes."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence

from sandbox import upstream
from sandbox.registry import OciImage, OciIndex
from sandbox.registry.oci import digest_of


def tiny_image(text: str = "hello", architecture: str = "amd64") -> OciImage:
    """An image of one layer with one file that contains `text`; it can be pushed and pulled, not run."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        content = text.encode()
        member = tarfile.TarInfo("greeting")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": ["/bin/true"]},
        "rootfs": {"type": "layers", "diff_ids": []},
    }
    return OciImage(json.dumps(config).encode(), (layer.getvalue(),), format="oci")


def two_platforms(text: str = "hello") -> OciIndex:
    """An index of two tiny images, for amd64 and arm64."""
    return OciIndex((tiny_image(text, "amd64"), tiny_image(text + " arm", "arm64")))


def shell_image(command: Sequence[str] = (), **environment: str) -> OciImage:
    """An image of one megabyte that runs: BusyBox, and a script for Node that serves a page.

    The digest depends on the command and the variables.
    """
    image = upstream.tiny_image()
    document = json.loads(image.config)
    document["config"]["Env"] += [f"{name}={value}" for name, value in environment.items()]
    document["config"]["Cmd"] = list(command) or document["config"]["Cmd"]
    return OciImage(json.dumps(document).encode(), image.layers)


def with_files(image: OciImage, files: Mapping[str, bytes]) -> OciImage:
    """An image with a further layer, which has these files by their paths."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    config = json.loads(image.config)
    config["rootfs"]["diff_ids"].append(digest_of(layer.getvalue()))
    config.pop("history", None)
    return OciImage(json.dumps(config).encode(), (*image.layers, layer.getvalue()), format=image.format)
