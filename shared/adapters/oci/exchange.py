"""A request to a registry, its response, the network between them, and the limits of both."""

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
    """How long is waited, and how much is taken, from one registry.

    `read_seconds` is the longest silence, `answer_seconds` the longest time for one whole answer: a registry that sends
    a byte now and then is not waited for. `listing_seconds` is the time that all pages of one listing may take.
    `body_bytes` is the size of a manifest that every registry has to take, and the most that is read of an answer:
    https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests
    `list_bytes` is the most that is read of a page of tags: Google's registries know no pages, and list every manifest.
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
    """The way out: `proxies` as `urllib.request.getproxies_environment` gives them, `ca_bundle` a file or folder."""

    proxies: Mapping[str, str] = field(default_factory=dict)
    ca_bundle: str = ""

    @staticmethod
    def of_environment() -> "Network":
        """The way out that HTTPS_PROXY, NO_PROXY and REQUESTS_CA_BUNDLE describe, as for the Azure SDKs."""
        return Network(proxies=getproxies_environment(), ca_bundle=os.environ.get("REQUESTS_CA_BUNDLE", ""))

    def proxy_for(self, host: str) -> str:
        """The URL of the proxy for a host, "" where there is none or NO_PROXY names the host."""
        proxy = self.proxies.get("https") or self.proxies.get("all") or ""
        if not proxy or proxy_bypass_environment(host, dict(self.proxies)):
            return ""
        return proxy if "://" in proxy else f"http://{proxy}"

    def ssl_context(self) -> ssl.SSLContext:
        """A context that trusts the bundle, without one the machine's certificates (or SSL_CERT_FILE).

        Raises:
            Misconfigured: the bundle cannot be read.
        """
        try:
            if self.ca_bundle and Path(self.ca_bundle).is_dir():
                return ssl.create_default_context(capath=self.ca_bundle)
            return ssl.create_default_context(cafile=self.ca_bundle or None)
        except OSError as error:
            problem = f"{self.ca_bundle} cannot be read as a bundle of certificates ({error.strerror or error})"
            raise Misconfigured(f"{problem}: set REQUESTS_CA_BUNDLE right, or unset it") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of whom. `doing` begins the sentence of an error; headers and body are never shown.

    With `private` the host may have a private address. `secrets` are what no error may repeat from the answer. Of an
    answer `limit_bytes` are read at most (0: as many as of any other).
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
