"""Azure Resource Manager as in its REST documentation: one call per resource, waiting for long-running operations."""

from __future__ import annotations

import time
from typing import Any

from azure.core import PipelineClient
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.policies import RetryPolicy
from azure.core.rest import HttpRequest, HttpResponse
from azure.identity import DefaultAzureCredential
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy

_ARM = "https://management.azure.com"
_SCOPE = f"{_ARM}/.default"


class Azure:
    """A signed-in client for ARM."""

    def __init__(self) -> None:
        self.credential = DefaultAzureCredential()
        sign = ARMChallengeAuthenticationPolicy(self.credential, _SCOPE)
        self._client: PipelineClient[HttpRequest, HttpResponse] = PipelineClient(_ARM, policies=[RetryPolicy(), sign])

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self.credential.close()

    def put(self, resource_id: str, body: dict[str, Any], version: str) -> Any:
        """Create or replace a resource and wait until that is done."""
        return self.call("PUT", resource_id, version, body)

    def get(self, resource_id: str, version: str) -> Any:
        """Read a resource."""
        return self.call("GET", resource_id, version)

    def post(self, path: str, version: str, body: dict[str, Any] | None = None) -> Any:
        """Run an action."""
        return self.call("POST", path, version, body)

    def call(self, method: str, path: str, version: str, body: dict[str, Any] | None = None) -> Any:
        """Send one request; returns the response body, after a long-running operation has ended.

        Raises:
            HttpResponseError: with the service's message.
        """
        request = HttpRequest(method, f"{_ARM}{path}", params={"api-version": version}, json=body)
        response = self._client.send_request(request)
        response.raise_for_status()
        location = response.headers.get("Azure-AsyncOperation") or response.headers.get("Location")
        if response.status_code in (201, 202) and location:
            self._wait(location)
            return self.get(path, version) if method == "PUT" else None
        return response.json() if response.content else None

    def _wait(self, url: str) -> None:
        while True:
            response = self._client.send_request(HttpRequest("GET", url))
            response.raise_for_status()
            status = response.json().get("status", "Succeeded") if response.content else "Succeeded"
            if response.status_code != 202 and status in ("Succeeded", "Failed", "Canceled"):
                if status != "Succeeded":
                    raise HttpResponseError(f"{status}: {response.json().get('error')}", response=response)
                return
            time.sleep(int(response.headers.get("retry-after-ms", "1000")) / 1000)
