"""What leaves the app for Azure where a header or a word of the body makes the difference: read from the wire."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from io import BytesIO
from typing import Any, NamedTuple

import pytest
import requests
import urllib3
from azure.core.credentials import AccessToken, AccessTokenInfo

from shared.adapters.ledger_tables import TableLedger
from shared.adapters.registry_acr import AcrRegistry
from shared.adapters.secrets_keyvault import VaultCredentials
from shared.adapters.tasks_acr import AcrTaskRunner
from shared.domain.errors import Retry
from shared.domain.image import ImageRef, Repository
from shared.domain.rollout import AppRecord
from shared.ports import Stored
from tests.fakes import digest, sample_policy

POLICY = sample_policy()
BASE = POLICY.registries["base"]
ORANGE = digest("orange")
JSON = {"Content-Type": "application/json"}


class Credential:
    """A token for everything, at once."""

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        return AccessToken("a token", int(time.time()) + 3600)

    def get_token_info(self, *scopes: str, options: object = None) -> AccessTokenInfo:
        return AccessTokenInfo("a token", int(time.time()) + 3600)


class Vault(VaultCredentials):
    """A vault with one value in it."""

    value = "fourwordsoftheteam"

    def values(self) -> list[str]:
        return [self.value]


class Answer(NamedTuple):
    """What a service says to the requests whose method and address have a word in them."""

    to: str
    status: int
    content: bytes = b""
    headers: Mapping[str, str] = JSON


class Wire:
    """What the SDKs send through: the first answer that fits, of a blob the part asked for; every request that left."""

    def __init__(self, *responses: Answer) -> None:
        self._responses, self.left = responses, list[tuple[str, str]]()

    def request(self, method: str, url: str, **options: Any) -> requests.Response:
        data = options.get("data") or b""
        self.left.append((f"{method} {url}", data.decode() if isinstance(data, bytes) else str(data)))
        said = next(answer for answer in self._responses if answer.to in f"{method} {url}")
        content, part = said.content, dict[str, str]()
        if asked := options.get("headers", {}).get("x-ms-range"):
            first, last = map(int, asked.removeprefix("bytes=").split("-"))
            content = content[first : last + 1]
            part["Content-Range"] = f"bytes {first}-{first + len(content) - 1}/{len(said.content)}"
        response = requests.Response()
        response.status_code, response.url, response.reason = said.status, url, ""
        response.headers.update({"Content-Length": str(len(content)), **said.headers, **part})
        head = urllib3.HTTPHeaderDict(response.headers)
        response.raw = urllib3.HTTPResponse(
            BytesIO(content if method != "HEAD" else b""),
            headers=head,
            status=said.status,
            preload_content=False,
            request_method=method,
        )
        return response

    def bodies(self, to: str) -> list[str]:
        return [body for request, body in self.left if to in request]


def wired(monkeypatch: pytest.MonkeyPatch, *responses: Answer) -> Wire:
    wire = Wire(*responses)
    monkeypatch.setattr(requests.Session, "request", wire.request)
    return wire


def vault() -> Vault:
    return Vault("https://v.vault.azure.net", Credential)


def test_a_record_is_replaced_only_if_the_row_is_as_it_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = wired(monkeypatch, Answer("/Tables", 201, b'{"TableName": "basegate"}'), Answer("/$batch", 503))
    ledger, record = TableLedger("https://x.table.core.windows.net", Credential), AppRecord(app="a")
    with pytest.raises(Retry):
        ledger.save(Stored(record, "W/\"datetime'1'\""), record)
    (body,) = wire.bodies("/$batch")
    assert "\nIf-Match: W/\"datetime'1'\"" in body.replace("\r", "")


def test_a_copy_never_overwrites_a_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = wired(monkeypatch, Answer("/importImage", 202, headers={"Location": "https://management.azure.com/o"}))
    source = ImageRef("publicregistry.azurecr.io", Repository("node"), ORANGE)
    registry = AcrRegistry(Credential, vault())
    assert registry.start_copy(source, POLICY.registries["public"], BASE, "node:1") == "https://management.azure.com/o"
    (body,) = wire.bodies("/importImage")
    assert (json.loads(body)["mode"], json.loads(body)["targetTags"]) == ("NoForce", ["node:1"])


def test_a_lock_is_on_the_tag_and_keeps_the_manifest_from_being_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"digest": ORANGE, "name": "1", "changeableAttributes": {}}
    said = json.dumps({"manifest": about, "tag": about}).encode()
    wire = wired(monkeypatch, Answer("PATCH", 200, said))
    AcrRegistry(Credential, vault()).lock(BASE, "node", "1", ORANGE)
    assert [json.loads(body) for body in wire.bodies("/_manifests/")] == [{"deleteEnabled": False}]
    assert [json.loads(body) for body in wire.bodies("/_tags/1")] == [{"deleteEnabled": False, "writeEnabled": False}]


def test_a_run_s_log_comes_without_secrets_and_without_the_vault_s_values(monkeypatch: pytest.MonkeyPatch) -> None:
    log = b"npm login --password hunter2\nechoed fourwordsoftheteam here\ndone\n"
    wired(monkeypatch, *log_responses(log))
    text = AcrTaskRunner(Credential, vault()).log(BASE, "cb1", 1000)
    assert text == "npm login --password ***\nechoed *** here\ndone\n"


@pytest.mark.parametrize("length", [100, 5_000, 25_000])
def test_no_rest_of_a_value_stands_where_the_part_of_a_log_begins(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    secrets = vault()
    secrets.value = "".join(chr(ord("a") + number % 17) for number in range(length))
    begun, end = "built\n" * 30_000, "done, and it went well, and there is nothing more to say of it\n"
    wired(monkeypatch, *log_responses(f"{begun}{secrets.value}{end}".encode()))
    assert AcrTaskRunner(Credential, secrets).log(BASE, "cb1", 100).removeprefix("***") == end


def log_responses(log: bytes) -> tuple[Answer, ...]:
    blob = {"Content-Type": "text/plain", "ETag": '"1"'}
    link = json.dumps({"logLink": "https://logs.blob.core.windows.net/logs/cb1?sig=s"}).encode()
    return Answer("/listLogSasUrl", 200, link), Answer("HEAD", 200, log, blob), Answer("logs.blob", 206, log, blob)
