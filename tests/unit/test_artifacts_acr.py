"""What is written under a tag that others write, too: no registry changes a tag on a condition."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest
from azure.core.exceptions import ResourceNotFoundError

from shared.adapters.artifacts_acr import add_layer
from shared.domain.errors import Retry
from shared.ports import Artifact

MINE, OTHER = (Artifact(media_type="a/b", content=content) for content in (b"mine", b"other"))


class FakeClient:
    """Manifests by tag. `after_write` is what somebody else does right after a write."""

    def __init__(self) -> None:
        self.manifests: dict[str, bytes] = {}
        self.after_write: Callable[[], object] = lambda: None

    def upload_blob(self, repository: str, content: BinaryIO) -> None:
        """Blobs are of no interest here."""

    def get_manifest(self, repository: str, tag: str, *, raw_response_hook: Callable[[Any], object]) -> Any:
        if tag not in self.manifests:
            raise ResourceNotFoundError("no such tag")
        body = self.manifests[tag]
        raw_response_hook(SimpleNamespace(http_response=SimpleNamespace(body=lambda: body)))
        return SimpleNamespace(media_type=json.loads(body)["mediaType"])

    def set_manifest(self, repository: str, content: BinaryIO, *, tag: str, media_type: str) -> None:
        self.manifests[tag] = content.read()
        happens, self.after_write = self.after_write, lambda: None
        happens()

    def layers(self) -> list[str]:
        return [layer["digest"] for layer in json.loads(self.manifests["a.att"])["layers"]]


def digest_of(artifact: Artifact) -> str:
    return f"sha256:{hashlib.sha256(artifact.content).hexdigest()}"


def test_a_layer_that_somebody_overwrites_before_it_is_read_back_is_added_by_the_next_try() -> None:
    client: Any = FakeClient()
    other: Any = FakeClient()
    add_layer(other, "node", "a.att", OTHER)
    client.after_write = lambda: client.manifests.update(other.manifests)
    with pytest.raises(Retry, match=r"another client changed node:a\.att at the same time"):
        add_layer(client, "node", "a.att", MINE)
    add_layer(client, "node", "a.att", MINE)
    assert client.layers() == [digest_of(OTHER), digest_of(MINE)]
