"""Where a request goes: the server of a registry, and the URLs that it gives.

Source of the numeric forms of an IPv4 address, which are no host names:
https://url.spec.whatwg.org/#concept-ipv4-parser
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import urljoin, urlsplit

from shared.adapters.oci.addresses import Refused
from shared.domain.policy import RegistryRule

HTTPS_PORT = 443
_HUB_ALIASES = frozenset(("docker.io", "index.docker.io"))
_HUB_HOST = "registry-1.docker.io"

_URL_LIMIT = 4096
_URL = re.compile(r"[!-\[\]-~]+")
"""Printable ASCII without spaces and backslashes: what parsers disagree on is in none of them."""

_SERVER = re.compile(r"[a-z0-9._:\[\]-]+")
_HAS_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
_NUMERIC = re.compile(r"(?:.*\.)?(?:\d+|0x[0-9a-f]*)")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes: `path` is encoded and has its query. The scheme is https, always."""

    host: str
    port: int
    path: str = "/"

    @property
    def origin(self) -> tuple[str, int]:
        """What has to be equal for a secret to go there, too."""
        return self.host, self.port

    @property
    def server(self) -> str:
        """Host and port as a URL has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == HTTPS_PORT else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"https://{self.server}{self.path.partition('?')[0]}"

    def at(self, path: str) -> Target:
        """Another path of the same server."""
        return Target(self.host, self.port, path)


def is_hub(registry: RegistryRule) -> bool:
    """Whether the registry is Docker Hub under any of its names."""
    return registry.login_server.lower() in (*_HUB_ALIASES, _HUB_HOST)


def server_of(registry: RegistryRule) -> Target:
    """Where a registry's API is: its login server, and for Docker Hub the host that answers for it.

    Raises:
        Refused: the login server is no host name with an optional port.
    """
    text = registry.login_server.lower()
    if text in _HUB_ALIASES:
        return Target(_HUB_HOST, HTTPS_PORT)
    if not _SERVER.fullmatch(text):
        raise Refused(f"'{text[:80]}' is not a host name with an optional port")
    return _absolute(f"https://{text}/")


def parse_url(text: str, base: Target, *, private: bool = False) -> Target:
    """A URL that the registry at `base` gave, which may be relative to it.

    Raises:
        Refused: it is not https, has a user or no readable host, or (unless the registry is `private`) a port that is
            neither 443 nor the registry's own.
    """
    if len(text) > _URL_LIMIT or not _URL.fullmatch(text):
        raise Refused(f"{text[:80]!r} is not a URL")
    try:  # what has a scheme is never joined: `https:///token` would become the base's own host
        url = text if _HAS_SCHEME.match(text) else urljoin(f"https://{base.server}{base.path}", text)
    except ValueError as error:
        raise Refused(f"{text[:80]!r} is not a URL") from error
    target = _absolute(url)
    if not private and target.port not in (HTTPS_PORT, base.port):
        raise Refused(f"{target} has a port that is neither 443 nor the registry's own")
    return target


def _absolute(url: str) -> Target:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Refused(f"{url[:80]!r} is not a URL") from error
    if "@" in parts.netloc:
        raise Refused(f"a URL at {parts.hostname or 'no host'} has a user name in it")
    if parts.scheme != "https":
        raise Refused(f"{parts.scheme or 'no scheme'}://{parts.netloc} is not https")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(_host(parts.hostname or ""), HTTPS_PORT if port is None else port, path)


def _host(text: str) -> str:
    """A host in its one spelling; numbers that some resolvers read as an address are none."""
    host = text.lower()
    try:
        if ":" in host and "%" not in host:
            return str(IPv6Address(host))
        if _NUMERIC.fullmatch(host):
            return str(IPv4Address(host))
    except AddressValueError as error:
        raise Refused(f"'{host[:80]}' is not a host name, nor an address in its usual form") from error
    if not _NAME.fullmatch(host):
        raise Refused(f"'{host[:80]}' is not a host name")
    return host
