"""Azure Storage: the queues of work items and hints, and the archive of evidence in blobs.

The queue output binding cannot delay a message, which the next step of a record needs; the event path, which needs no
delay, uses the binding and never imports this module.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cached_property, lru_cache

import msgspec
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import ContainerClient, ContentSettings
from azure.storage.queue import QueueClient, TextBase64EncodePolicy

from shared.adapters.azure_calls import STORAGE_DEADLINES, Identity, expected, translated
from shared.domain.errors import EVIDENCE, Misconfigured, needing
from shared.domain.event import Hint
from shared.domain.record import WorkItem
from shared.ports import QueueState
from shared.settings import EVIDENCE_CONTAINER, HINT_QUEUE, POISON, WORK_QUEUE

_BLOB_ROLE = "give the app Storage Blob Data Contributor"
_QUEUE_ROLE = "give the app Storage Queue Data Contributor"
_LONGEST_WAIT_SECONDS, _NEVER = 7 * 86_400, -1
"""A message lives for seven days by default: one that is hidden for so long would never be seen."""


class StorageWorkQueue:
    """Implements the port `WorkQueue`. Messages are base64, as the Functions host expects by default."""

    def __init__(self, endpoint: str, credential: Identity) -> None:
        self._endpoint, self._credential = endpoint, credential
        self._queues = lru_cache(maxsize=None)(self._make_client)

    def send(self, item: WorkItem, wait_seconds: float) -> None:
        self._send(WORK_QUEUE, f"{item.kind} {item.row}", item, wait_seconds)

    def send_hint(self, hint: Hint, wait_seconds: float) -> None:
        self._send(HINT_QUEUE, f"a hint about {hint.subject} {hint.tag}", hint, wait_seconds)

    def _send(self, queue: str, what: str, message: object, wait_seconds: float) -> None:
        hidden = min(math.ceil(wait_seconds), _LONGEST_WAIT_SECONDS)
        with translated(f"queueing {what}", remedy=_QUEUE_ROLE):
            text = msgspec.json.encode(message).decode()
            self._queues(queue).send_message(text, visibility_timeout=hidden, time_to_live=_NEVER)

    def check(self) -> QueueState:
        dates: list[str] = []
        with translated("reading the properties of the queues", remedy=_QUEUE_ROLE):
            for queue in (WORK_QUEUE, HINT_QUEUE):
                problem = f"there is no queue {queue} in the app's storage account"
                missing = Misconfigured(problem, remedy=f"az storage queue create --name {queue} there")
                with expected(ResourceNotFoundError, instead=missing):
                    self._queues(queue).get_queue_properties(
                        raw_response_hook=lambda response: dates.append(response.http_response.headers.get("Date", ""))
                    )
        return QueueState(_moment(dates[-1] if dates else ""), self._given_up(WORK_QUEUE) + self._given_up(HINT_QUEUE))

    def _given_up(self, queue: str) -> int:
        """The length of a queue's poison queue, which the host creates with the first message."""
        doing = "reading the properties of the poison queues"
        with translated(doing, remedy=_QUEUE_ROLE), expected(ResourceNotFoundError):
            return int(self._queues(queue + POISON).get_queue_properties().approximate_message_count or 0)
        return 0

    def _make_client(self, queue: str) -> QueueClient:
        policy = TextBase64EncodePolicy()
        return QueueClient(self._endpoint, queue, self._credential(), message_encode_policy=policy, **STORAGE_DEADLINES)


def _moment(date: str) -> datetime | None:
    """A `Date` header, None if it is missing or invalid."""
    try:
        return parsedate_to_datetime(date)
    except ValueError:
        return None


class BlobArchive:
    """Implements the port `Archive`: one blob for each text, in one container."""

    def __init__(self, endpoint: str, credential: Identity) -> None:
        self._endpoint, self._credential = endpoint, credential

    @cached_property
    def _container(self) -> ContainerClient:
        container = ContainerClient(self._endpoint, EVIDENCE_CONTAINER, self._credential(), **STORAGE_DEADLINES)
        with _archiving("opening the evidence container"), suppress(ResourceExistsError):
            container.create_container()
        return container

    def store(self, name: str, text: str) -> str:
        settings = ContentSettings(content_type="text/plain; charset=utf-8")
        with _archiving(f"storing the evidence {name}"):
            self._container.upload_blob(name, text.encode(), overwrite=True, content_settings=settings)
        return f"{EVIDENCE_CONTAINER}/{name}"

    def read(self, place: str) -> str:
        name = place.removeprefix(f"{EVIDENCE_CONTAINER}/")
        with _archiving(f"reading the evidence {name}"):
            content: bytes = self._container.download_blob(name).readall()
        return content.decode(errors="replace")

    def find(self, prefix: str) -> list[str]:
        with _archiving(f"listing the evidence {prefix}"):
            names = self._container.list_blob_names(name_starts_with=prefix)
            return [f"{EVIDENCE_CONTAINER}/{name}" for name in names]

    def remove(self, place: str) -> None:
        name = place.removeprefix(f"{EVIDENCE_CONTAINER}/")
        with _archiving(f"removing the evidence {name}"), expected(ResourceNotFoundError):
            self._container.delete_blob(name)

    def check(self) -> None:
        with _archiving("reading the evidence container's properties"):
            self._container.get_container_properties()


@contextmanager
def _archiving(doing: str) -> Iterator[None]:
    """As `translated`, and the errors name the archive: most steps mainly need something else."""
    with needing(EVIDENCE), translated(doing, remedy=_BLOB_ROLE):
        yield
