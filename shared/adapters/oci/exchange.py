"""A request to a registry and its response, the proxy and certificates, and the limits."""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from shared.adapters.oci.safety import Target
from shared.domain.errors import Misconfigured


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Time and size limits for one registry.

    `read_seconds` is the longest time without data, `answer_seconds` the longest time for a whole response, which ends
    one that trickles in. `listing_seconds` is the time limit for all pages of one list.
    `body_bytes` is the maximum size of a response. It is the size of a manifest that every registry must accept:
    https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests
    `list_bytes` is the maximum size of a page of tags: Google's registries have no pagination, and list every manifest.
    """

    connect_seconds: float = 5.0
    read_seconds: float = 15.0
    answer_seconds: float = 30.0
    listing_seconds: float = 300.0
    body_bytes: int = 4 * 1024 * 1024
    list_bytes: int = 32 * 1024 * 1024
    page_size: int = 1000
    pages: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The proxies, as `urllib.request.getproxies_environment` returns them, and `ca_bundle`, a file or folder."""

    proxies: Mapping[str, str] = field(default_factory=dict)
    ca_bundle: str = ""

    @staticmethod
    def of_environment() -> "Network":
        """The settings in HTTPS_PROXY, NO_PROXY and REQUESTS_CA_BUNDLE, as for the Azure SDKs."""
        return Network(proxies=getproxies_environment(), ca_bundle=os.environ.get("REQUESTS_CA_BUNDLE", ""))

    def proxy_for(self, host: str) -> str:
        """The URL of the proxy for a host, "" if there is none or NO_PROXY names the host."""
        proxy = self.proxies.get("https") or self.proxies.get("all") or ""
        if not proxy or proxy_bypass_environment(host, dict(self.proxies)):
            return ""
        return proxy if "://" in proxy else f"http://{proxy}"

    def ssl_context(self) -> ssl.SSLContext:
        """A context that trusts the bundle, or without one the machine's certificates (or SSL_CERT_FILE).

        Raises:
            Misconfigured: the bundle cannot be read.
        """
        try:
            if self.ca_bundle and Path(self.ca_bundle).is_dir():
                return ssl.create_default_context(capath=self.ca_bundle)
            return ssl.create_default_context(cafile=self.ca_bundle or None)
        except OSError as error:
            problem = f"{self.ca_bundle} cannot be read as a bundle of certificates ({error.strerror or error})"
            raise Misconfigured(f"{problem}: correct REQUESTS_CA_BUNDLE, or unset it") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to a registry. `doing` is the beginning of the text of an error; headers and body are never shown.

    With `private` the host may have a private address. `secrets` must not be in any error, even if the response has
    them. `limit_bytes` is the maximum size of the response (0: the usual one).
    """

    doing: str
    target: Target
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    private: bool = False
    limit_bytes: int = 0
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response: header names are case-insensitive, repeated headers are joined by a comma."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
