"""Sends requests to a sandbox as its owner would: signed in, through its proxy, waiting for what takes long."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import requests
from azure.identity import DefaultAzureCredential

from tests.contract.recorder import Exchange

ARM = "https://management.azure.com"
_ANSWER_SECONDS = 60.0
_WORK_SECONDS = 120.0
_POLL_SECONDS = 0.05
_AUDIENCES = {"vault.azure.net": "https://vault.azure.net/.default", "management.azure.com": f"{ARM}/.default"}


class Client:
    """A session with the sandbox that the environment leads to."""

    def __init__(self) -> None:
        self._session, self._credential = requests.Session(), DefaultAzureCredential()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()
        self._credential.close()

    def token(self, host: str) -> str:
        """The access token for a host of Azure Resource Manager or a vault; "" for any other."""
        scope = next((scope for domain, scope in _AUDIENCES.items() if host.endswith(domain)), "")
        return self._credential.get_token(scope).token if scope else ""

    def send(self, method: str, url: str, body: Any = None) -> Exchange:
        """Send one request; where the response is that it takes long, the exchange has what it ends with."""
        answer = self._send(method, url, body)
        exchange = Exchange(method, url, body, answer.status_code, _decoded(answer))
        place = answer.headers.get("Azure-AsyncOperation") or answer.headers.get("Location", "")
        if answer.status_code in (201, 202) and urlsplit(place).hostname == urlsplit(ARM).hostname:
            return self._ended(exchange, place)
        return exchange

    def get(self, resource: str, version: str) -> Exchange:
        """Read a resource of Azure Resource Manager."""
        return self.send("GET", f"{ARM}{resource}?api-version={version}")

    def put(self, resource: str, version: str, body: object) -> None:
        """Create a resource of Azure Resource Manager, unless the sandbox refuses it: then the example is refused, too.

        Raises:
            RuntimeError: it cannot be created for another reason; the text says which.
        """
        exchange = self.send("PUT", f"{ARM}{resource}?api-version={version}", body)
        if exchange.status >= 400 and "sandbox" not in str(exchange.answered):
            raise RuntimeError(f"{resource} cannot be created: {exchange.answered}")

    def delete(self, resource: str, version: str) -> None:
        """Delete a resource of Azure Resource Manager, if it is there."""
        self.send("DELETE", f"{ARM}{resource}?api-version={version}")

    def _ended(self, exchange: Exchange, place: str) -> Exchange:
        """The exchange, or where its work fails or answers with a body, with the last poll's response."""
        deadline = time.monotonic() + _WORK_SECONDS
        while time.monotonic() < deadline:
            answer = self._send("GET", place)
            body = _decoded(answer)
            status = body.get("status") if isinstance(body, dict) and "startTime" in body else None
            if answer.status_code >= 400:
                return replace(exchange, status=answer.status_code, answered=body)
            if status == "Failed":
                return replace(exchange, status=400, answered={"error": body["error"]})
            if answer.status_code == 200 and status in (None, "Succeeded"):
                return replace(exchange, status=200, answered=body) if status is None and body else exchange
            time.sleep(_POLL_SECONDS)
        raise TimeoutError(f"{exchange.name} did not end in {_WORK_SECONDS:g} seconds")

    def _send(self, method: str, url: str, body: Any = None) -> requests.Response:
        token = self.token(urlsplit(url).hostname or "")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self._session.request(
            method, url, json=body, headers=headers, timeout=_ANSWER_SECONDS, allow_redirects=False
        )


def _decoded(answer: requests.Response) -> Any:
    if not answer.content or "json" not in answer.headers.get("Content-Type", ""):
        return None
    return json.loads(answer.content)
