"""The gateway: real names, TLS, strictness."""

from __future__ import annotations

import socket

import pytest
import requests
from aiohttp import web
from azure.identity import DefaultAzureCredential

from sandbox.tests.live import LiveGateway
from sandbox.web import Call, json_answer


def test_the_default_credential_gets_a_token_that_arm_accepts(live: LiveGateway) -> None:
    @live.arm.operation("GET", "/subscriptions/{subscription}/hello", versions=["2024-01-01"])
    async def hello(call: Call) -> web.StreamResponse:
        return json_answer({"appid": call.claims["appid"]})

    with DefaultAzureCredential() as credential:
        token = credential.get_token("https://management.azure.com/.default").token
    url = "https://management.azure.com/subscriptions/00000000-0000-0000-0000-000000000001/HELLO"
    headers = {"Authorization": f"Bearer {token}"}
    assert requests.get(url, params={"api-version": "2024-01-01"}, headers=headers, timeout=5).status_code == 200
    refused = requests.get(url, params={"api-version": "1999-01-01"}, headers=headers, timeout=5)
    assert refused.status_code == 400
    assert "1999-01-01" in refused.json()["error"]["message"]


def test_an_unknown_operation_is_an_error_that_names_it(live: LiveGateway) -> None:
    answer = requests.get("https://management.azure.com/nothing/here", timeout=5)
    assert answer.status_code == 404
    assert "GET https://management.azure.com/nothing/here" in answer.json()["error"]["message"]


def test_a_host_outside_the_sandbox_is_refused_by_name(live: LiveGateway) -> None:
    answer = requests.get("https://example.com/secret", timeout=5)
    assert answer.status_code == 502
    assert "example.com" in answer.json()["error"]["message"]


@pytest.mark.attack("any client", "a CONNECT to no name, which is left open", "a name without a certificate is refused")
@pytest.mark.parametrize("host", ["contoso..azurecr.io", ".", f"{'a' * 64}.azurecr.io", "contoso/azurecr.io"])
def test_a_connect_to_a_name_that_no_host_can_have_is_refused_and_closed(live: LiveGateway, host: str) -> None:
    with socket.create_connection(("127.0.0.1", live.port), timeout=5) as connection:
        connection.sendall(f"CONNECT {host}:443 HTTP/1.1\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(1024), b""))
    assert answer.startswith(b"HTTP/1.1 400 Bad CONNECT\r\n")


def test_a_request_without_a_token_is_refused(live: LiveGateway) -> None:
    @live.arm.operation("GET", "/closed")
    async def closed(call: Call) -> web.StreamResponse:
        return json_answer({})

    assert requests.get("https://management.azure.com/closed", timeout=5).status_code == 401
