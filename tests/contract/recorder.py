"""What went over the wire: requests and answers of the SDKs, as far as Azure describes them in OpenAPI."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

_DESCRIBED = ("management.azure.com", ".vault.azure.net", ".azurecr.io")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request with its answer. Bodies are decoded JSON, None where there is none."""

    method: str
    url: str
    sent: Any
    status: int
    answered: Any

    @property
    def name(self) -> str:
        """Method, URL without its query, and status, for the reader."""
        return f"{self.method} {self.url.partition('?')[0]} -> {self.status}"


class Recorder:
    """Listens to every `requests` session of this process: that is what the synchronous SDKs speak through."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def listen(self, patch: pytest.MonkeyPatch) -> None:
        """Listen until the patch is undone."""
        send = requests.Session.send

        def send_and_note(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> Any:
            response = send(session, request, **options)
            self._note(request, response)
            return response

        patch.setattr(requests.Session, "send", send_and_note)

    def _note(self, request: requests.PreparedRequest, response: requests.Response) -> None:
        url = urlsplit(str(request.url))
        host = url.hostname or ""
        if not host.endswith(_DESCRIBED) or url.path.startswith("/v2/"):
            return
        answered = _decoded(response.content, response.headers)
        sent = _decoded(request.body, request.headers)
        self.exchanges.append(Exchange(str(request.method), str(request.url), sent, response.status_code, answered))


def _decoded(body: Any, headers: Mapping[str, Any]) -> Any:
    return json.loads(body) if body and "json" in str(headers.get("Content-Type")) else None
