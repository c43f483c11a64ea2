"""The scanner of the last two chapters: its image in the base registry, which can be taken away."""

from __future__ import annotations

from io import BytesIO

from azure.containerregistry import ContainerRegistryClient

from demo import scenario
from demo.azure import Azure
from sandbox.testing import scanner_image

_REPOSITORY, _TAG = "osv-match", "1"


class Scanner:
    """`osv-match`, the sandbox's stand-in for a scanner: it knows a few invented advisories."""

    def __init__(self, azure: Azure) -> None:
        self._registry = ContainerRegistryClient(f"https://{scenario.BASE}.azurecr.io", azure.credential)
        self._digest = ""

    def close(self) -> None:
        """Close the connections."""
        self._registry.close()

    def push(self) -> str:
        """Push the image; returns its name with its digest."""
        for content, _ in scanner_image().blobs:
            self._registry.upload_blob(_REPOSITORY, BytesIO(content))
        self.bring_back()
        return f"{scenario.BASE}.azurecr.io/{_REPOSITORY}@{self._digest}"

    def take_away(self) -> str:
        """Delete the image, as whoever may clean up can; returns the command that does so."""
        self._registry.delete_manifest(_REPOSITORY, self._digest)
        return f"az acr repository delete --name {scenario.BASE} --image {_REPOSITORY}:{_TAG}"

    def bring_back(self) -> None:
        """Push the image's manifest. The registry keeps the blobs of a deleted one until it collects garbage."""
        manifest = scanner_image().manifest
        self._digest = str(
            self._registry.set_manifest(_REPOSITORY, BytesIO(manifest.body), tag=_TAG, media_type=manifest.media_type)
        )
