"""Storage through the Azure SDKs, by real names, with the default credential."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import requests
from azure.core import MatchConditions
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError
from azure.data.tables import (
    AccountSasPermissions,
    ResourceTypes,
    TableClient,
    TableSasPermissions,
    TableServiceClient,
    TableTransactionError,
    UpdateMode,
    generate_account_sas,
    generate_table_sas,
)
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueClient

from sandbox.instance import Settings
from sandbox.lifecycle import TOOLS
from sandbox.storage import Storage
from sandbox.storage.account import open_account
from sandbox.tests.live import LiveGateway

ACCOUNT = "basegatestore"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def storage(live: LiveGateway) -> Iterator[Storage]:
    service = Storage(live.instance, Settings(), live.issuer, TOOLS)
    live.run(service.start())
    live.gateway.add(service.surface())
    yield service
    live.run(service.stop())


@pytest.fixture
def credential(storage: Storage) -> Iterator[DefaultAzureCredential]:
    credential = DefaultAzureCredential()
    yield credential
    credential.close()


@pytest.fixture
def table(credential: DefaultAzureCredential) -> Iterator[TableClient]:
    with TableServiceClient(f"https://{ACCOUNT}.table.core.windows.net", credential=credential) as service:
        yield service.create_table_if_not_exists("ledger")


def test_a_stale_etag_is_refused_and_the_row_stays(table: TableClient) -> None:
    table.create_entity({"PartitionKey": "p", "RowKey": "r", "n": 1})
    entity = table.get_entity("p", "r")
    stale = entity.metadata["etag"]
    table.update_entity(entity | {"n": 2}, mode=UpdateMode.REPLACE)
    with pytest.raises(ResourceModifiedError):
        table.update_entity(
            entity | {"n": 3}, mode=UpdateMode.REPLACE, etag=stale, match_condition=MatchConditions.IfNotModified
        )
    assert table.get_entity("p", "r")["n"] == 2


def test_of_many_who_insert_one_key_exactly_one_wins(table: TableClient) -> None:
    def insert(number: int) -> bool:
        try:
            table.create_entity({"PartitionKey": "p", "RowKey": "one", "n": number})
        except ResourceExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(insert, range(16))) == 1


def test_a_batch_is_applied_whole_or_not_at_all(table: TableClient) -> None:
    rows = [{"PartitionKey": "b", "RowKey": str(n)} for n in range(3)]
    table.submit_transaction([("create", row) for row in rows])
    with pytest.raises(TableTransactionError):
        table.submit_transaction([("create", {"PartitionKey": "b", "RowKey": "new"}), ("create", rows[0])])
    assert len(list(table.query_entities("PartitionKey eq 'b'"))) == 3


def test_an_entity_over_azure_s_size_is_refused(table: TableClient) -> None:
    entity = {"PartitionKey": "p", "RowKey": "big"} | {f"body{n}": "x" * 32_000 for n in range(40)}
    with pytest.raises(HttpResponseError) as error:
        table.create_entity(entity)
    assert error.value.status_code == 400


def test_a_queue_message_is_hidden_for_its_time(credential: DefaultAzureCredential) -> None:
    url = f"https://{ACCOUNT}.queue.core.windows.net"
    with QueueClient(url, "steps", credential=credential) as queue:
        queue.create_queue()
        queue.send_message("later", visibility_timeout=60)
        queue.send_message("now")
        message = queue.receive_message()
        assert message is not None
        assert message.content == "now"
        queue.delete_message(message)
        assert queue.receive_message() is None


def test_a_signed_url_reads_a_blob_without_a_token(storage: Storage, live: LiveGateway) -> None:
    live.run(storage.put_blob("logs", "ca1/rawtext.log", b"hello", {"Complete": "successful"}))
    url = storage.sas_url("logs", "ca1/rawtext.log", permissions="r", minutes=5)
    answer = requests.get(url, timeout=5)
    assert (answer.content, answer.headers["x-ms-meta-Complete"]) == (b"hello", "successful")
    assert requests.get(url.replace("sig=", "sig=A"), timeout=5).status_code == 403
    assert requests.put(url, data=b"x", headers={"x-ms-blob-type": "BlockBlob"}, timeout=5).status_code == 403


def test_no_token_is_a_challenge_and_another_audience_is_refused(storage: Storage, live: LiveGateway) -> None:
    url = f"https://{ACCOUNT}.table.core.windows.net/Tables"
    answer = requests.get(url, timeout=5)
    assert answer.status_code == 401
    assert "Bearer" in answer.headers["WWW-Authenticate"]
    foreign = live.issuer.issue("https://vault.azure.net")
    assert requests.get(url, headers={"Authorization": f"Bearer {foreign}"}, timeout=5).status_code == 401


FORGED = ("sv=2022-11-02&ss=t&srt=o&sp=a&se=2099-01-01&sig=AAAA", "sv=2022-11-02&tn=ledger&sig=", "sig=%FF")


@pytest.mark.attack("any client", "that a body is read without a token or with a forged signature", "both come first")
def test_the_token_or_the_signature_is_checked_before_the_body(storage: Storage) -> None:
    refused_later = {f"property{number}": number for number in range(300)}
    url = f"https://{ACCOUNT}.table.core.windows.net/ledger"
    assert requests.post(url, json=refused_later, timeout=5).status_code == 401
    for query in FORGED:
        answer = requests.post(f"{url}?{query}", json=refused_later, timeout=5)
        assert (answer.status_code, answer.headers["x-ms-error-code"]) == (403, "AuthenticationFailed")


def account_sas(key: AzureNamedKeyCredential) -> str:
    types, rights = ResourceTypes(object=True), AccountSasPermissions(add=True)
    return generate_account_sas(key, types, rights, datetime.now(UTC) + timedelta(minutes=5), start=LONG_AGO)


def table_sas(key: AzureNamedKeyCredential) -> str:
    end = datetime.now(UTC) + timedelta(minutes=5)
    rights, keys = TableSasPermissions(add=True), {"start_pk": "s", "start_rk": "1", "end_pk": "s", "end_rk": "9"}
    return generate_table_sas(key, "Ledger", permission=rights, expiry=end, protocol="https,http", **keys)


def test_signatures_of_the_account_s_key_allow_what_they_say(live: LiveGateway, table: TableClient) -> None:
    key = AzureNamedKeyCredential(ACCOUNT, open_account(ACCOUNT, live.instance.folder("storage") / "account.key").key)
    for number, signature in enumerate((account_sas(key), table_sas(key)), 1):
        credential = AzureSasCredential(signature)
        with TableClient(f"https://{ACCOUNT}.table.core.windows.net", "ledger", credential=credential) as signed:
            signed.create_entity({"PartitionKey": "s", "RowKey": str(number)})
            with pytest.raises(HttpResponseError):
                signed.delete_entity("s", str(number))
    assert len(list(table.query_entities("PartitionKey eq 's'"))) == 2


def test_a_body_over_azure_s_size_is_not_kept(storage: Storage, live: LiveGateway) -> None:
    token = {"Authorization": f"Bearer {live.issuer.issue('https://storage.azure.com')}"}
    body = [b"x" * (1 << 20)] * 4 + [b"x"]
    for path in ("ledger", "$batch"):
        for data in (b"".join(body), iter(body)):
            url = f"https://{ACCOUNT}.table.core.windows.net/{path}"
            answer = requests.post(url, data=data, headers=token, timeout=5)
            assert (answer.status_code, answer.headers["x-ms-error-code"]) == (413, "RequestBodyTooLarge")


def test_another_account_is_refused_by_name(storage: Storage) -> None:
    answer = requests.get("https://strangers.blob.core.windows.net/", timeout=5)
    assert answer.status_code == 404
    assert "strangers" in answer.text


def test_a_blob_larger_than_a_chunk_streams_both_ways(credential: DefaultAzureCredential) -> None:
    data = os.urandom(9 << 20)
    with BlobServiceClient(f"https://{ACCOUNT}.blob.core.windows.net", credential=credential) as service:
        container = service.create_container(f"c{uuid4().hex[:8]}")
        container.upload_blob("big", data)
        assert container.download_blob("big").readall() == data


def test_sigkill_loses_no_acknowledged_write_and_clients_recover(storage: Storage, table: TableClient) -> None:
    for number in range(20):
        table.create_entity({"PartitionKey": "kill", "RowKey": str(number)})
    assert storage.pid is not None
    os.kill(storage.pid, signal.SIGKILL)
    table.create_entity({"PartitionKey": "kill", "RowKey": "after"})
    assert len(list(table.query_entities("PartitionKey eq 'kill'"))) == 21


def test_a_restart_that_the_system_refuses_once_is_tried_again(
    storage: Storage, table: TableClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn = asyncio.create_subprocess_exec
    errors: list[OSError] = []

    async def refuse_once(*command: Any, **options: Any) -> asyncio.subprocess.Process:
        if not errors:
            errors.append(BlockingIOError("no more processes"))
            raise errors[0]
        return await spawn(*command, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse_once)
    assert storage.pid is not None
    os.kill(storage.pid, signal.SIGKILL)
    table.create_entity({"PartitionKey": "refused", "RowKey": "after"})
    assert errors
