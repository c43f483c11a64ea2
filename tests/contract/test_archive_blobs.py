"""The archive of evidence."""

from __future__ import annotations

import pytest
from azure.storage.blob import ContainerClient

from demo import scenario
from shared.adapters.storage import BlobArchive
from shared.domain.errors import Rejected
from shared.settings import EVIDENCE_CONTAINER
from tests.contract.place import Place

ENDPOINT = f"https://{scenario.STORAGE}.blob.core.windows.net"


def test_evidence_is_kept_where_it_says_and_replaced_by_the_next(place: Place) -> None:
    name = "node/15-alpine/ca4.log"
    where = BlobArchive(ENDPOINT, place.credential).store(name, "first and longer\n")
    assert where == f"{EVIDENCE_CONTAINER}/{name}"
    assert BlobArchive(ENDPOINT, place.credential).store(name, "zweite Größe\n") == where
    with ContainerClient(ENDPOINT, EVIDENCE_CONTAINER, credential=place.azure.credential) as container:
        blob = container.download_blob(name)
        assert blob.readall().decode() == "zweite Größe\n"
        assert blob.properties.content_settings.content_type == "text/plain; charset=utf-8"


def test_evidence_is_read_where_it_was_kept(place: Place) -> None:
    archive = BlobArchive(ENDPOINT, place.credential)
    assert archive.read(archive.store("node/ca5.log", "Größe\n")) == "Größe\n"
    archive.check()
    with pytest.raises(Rejected):
        archive.read(f"{EVIDENCE_CONTAINER}/node/none.log")


def test_evidence_is_found_by_the_beginning_of_its_name_and_gone_when_forgotten(place: Place) -> None:
    archive = BlobArchive(ENDPOINT, place.credential)
    places = [archive.store(f"promotions/node/abc/15-alpine~{number:010}.json", "{}") for number in (1, 2)]
    archive.store("promotions/node/abcd/15-alpine~0000000003.json", "{}")
    assert archive.find("promotions/node/abc/") == places
    assert archive.find("promotions/none/") == []
    for _ in range(2):
        archive.remove(places[0])
    assert archive.find("promotions/node/abc/") == places[1:]
    with pytest.raises(Rejected):
        archive.read(places[0])
