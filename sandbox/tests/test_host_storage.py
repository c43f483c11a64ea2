"""The host on real storage queues, reached by their real names with the app's identity."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.identity import DefaultAzureCredential
from azure.storage.queue import QueueClient, TextBase64DecodePolicy, TextBase64EncodePolicy

from sandbox.instance import Settings
from sandbox.lifecycle import TOOLS
from sandbox.sites.process import SiteRecord
from sandbox.sites.service import Sites
from sandbox.storage import Storage
from sandbox.tests.apps.running import SAMPLE
from sandbox.tests.live import LiveGateway

ACCOUNT = Settings().storage_account


@pytest.fixture
def notes(live: LiveGateway, tmp_path: Path) -> Iterator[Path]:
    """Where the sample app, running as a site on Azurite, notes what it saw."""
    storage = Storage(live.instance, Settings(), live.issuer, TOOLS)
    live.run(storage.start())
    live.gateway.add(storage.surface())
    sites = Sites(live.instance, lambda: live.environment)
    settings = {"JOBS": "jobs", "SWEEP": "0 0 0 1 1 *", "Store__accountName": ACCOUNT, "NOTES": str(tmp_path)}
    try:
        live.run(sites.put(SiteRecord(name="sample", app=str(SAMPLE), settings=settings)))
        yield tmp_path
    finally:
        live.run(sites.stop())
        live.run(storage.stop())


@pytest.fixture
def credential(live: LiveGateway) -> Iterator[DefaultAzureCredential]:
    credential = DefaultAzureCredential()
    with credential:
        yield credential


def noted(notes: Path, name: str) -> list[dict[str, Any]]:
    file = notes / f"{name}.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_messages_survive_killed_workers_and_bad_ones_are_buried(
    notes: Path, credential: DefaultAzureCredential
) -> None:
    url = f"https://{ACCOUNT}.queue.core.windows.net"
    encode, decode = TextBase64EncodePolicy(), TextBase64DecodePolicy()
    with (
        QueueClient(url, "jobs", credential=credential, message_encode_policy=encode) as jobs,
        QueueClient(url, "results", credential=credential, message_decode_policy=decode) as results,
    ):
        deadline = time.monotonic() + 30
        send_when_there(jobs, "die once", deadline)
        while not (died := [job for job in noted(notes, "jobs") if job["text"] == "die once"]) or len(died) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        jobs.send_message("bad")
        while not noted(notes, "poison"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert [job["count"] for job in died] == [1, 2]
        assert [job["count"] for job in noted(notes, "jobs") if job["text"] == "bad"] == [1, 2]
        assert [message.content for message in results.receive_messages()] == ["done: die once"]
        assert jobs.get_queue_properties().approximate_message_count == 0


def send_when_there(queue: QueueClient, text: str, deadline: float) -> None:
    """The host makes the queue; a sender that is faster tries again."""
    from azure.core.exceptions import ResourceNotFoundError

    while True:
        try:
            queue.send_message(text)
        except ResourceNotFoundError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return
