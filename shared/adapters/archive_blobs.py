"""The archive of evidence in Azure Blob storage."""

from contextlib import suppress
from functools import cached_property

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import ContainerClient, ContentSettings

from shared.adapters.azure_calls import STORAGE_DEADLINES, Identity, expected, translated
from shared.settings import EVIDENCE_CONTAINER

_ROLE = "give the app Storage Blob Data Contributor"


class BlobArchive:
    """Implements the port `Archive`: one blob for each text, in one container."""

    def __init__(self, endpoint: str, credential: Identity) -> None:
        self._endpoint, self._credential = endpoint, credential

    @cached_property
    def _container(self) -> ContainerClient:
        container = ContainerClient(
            self._endpoint, EVIDENCE_CONTAINER, credential=self._credential(), **STORAGE_DEADLINES
        )
        with translated("opening the evidence container", remedy=_ROLE), suppress(ResourceExistsError):
            container.create_container()
        return container

    def store(self, name: str, text: str) -> str:
        """Store a text under a name, replacing an earlier one; returns its URL."""
        settings = ContentSettings(content_type="text/plain; charset=utf-8")
        with translated(f"keeping the evidence {name}", remedy=_ROLE):
            self._container.upload_blob(name, text.encode(), overwrite=True, content_settings=settings)
        return f"{EVIDENCE_CONTAINER}/{name}"

    def read(self, place: str) -> str:
        """The text at a URL.

        Raises:
            Rejected: there is none.
        """
        name = place.removeprefix(f"{EVIDENCE_CONTAINER}/")
        with translated(f"reading the evidence {name}", remedy=_ROLE):
            content: bytes = self._container.download_blob(name).readall()
        return content.decode(errors="replace")

    def find(self, prefix: str) -> list[str]:
        """The URLs of the texts with a name prefix, page by page."""
        with translated(f"listing the evidence {prefix}", remedy=_ROLE):
            names = self._container.list_blob_names(name_starts_with=prefix)
            return [f"{EVIDENCE_CONTAINER}/{name}" for name in names]

    def remove(self, place: str) -> None:
        """Delete a text; it is no error if it is gone already."""
        name = place.removeprefix(f"{EVIDENCE_CONTAINER}/")
        with translated(f"removing the evidence {name}", remedy=_ROLE), expected(ResourceNotFoundError):
            self._container.delete_blob(name)

    def check(self) -> None:
        """Check that the archive is usable; nothing is stored."""
        with translated("reading the evidence container's properties", remedy=_ROLE):
            self._container.get_container_properties()
