"""Where requests and credentials may be sent, decided before anything is sent.

URLs from a registry (a token realm, a redirect, a next page) are untrusted input: they must not make this app call its
own machine, its own network or the platform's metadata service, nor send a password to another owner.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urljoin, urlsplit

from publicsuffixlist import PublicSuffixList

from shared.domain.errors import Misconfigured

Address = IPv4Address | IPv6Address

HTTPS_PORT = 443

_LOCAL_SUFFIXES = (
    ".localhost", ".localdomain", ".local", ".internal", ".intranet", ".private", ".corp", ".home", ".lan",
    ".home.arpa",
)  # fmt: skip
_METADATA_NAMES = frozenset(("metadata", "metadata.google.internal", "metadata.goog", "instance-data"))
_METADATA = frozenset(map(ip_address, ("169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254")))
_NAT64 = IPv6Network("64:ff9b::/96")
_SITE_LOCAL = IPv6Network("fec0::/10")
_SIX_TO_FOUR_RELAYS = IPv4Network("192.88.99.0/24")

_URL_LIMIT = 4096
_URL = re.compile(r"[!-\[\]-~]+")
"""Printable ASCII without spaces and backslashes: URL parsers agree on these."""

_SERVER = re.compile(r"[a-z0-9._:\[\]-]+")
_HAS_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
_NUMERIC = re.compile(r"(?:.*\.)?(?:\d+|0x[0-9a-f]*)")
"""The numeric forms of an IPv4 address, which are no host names: https://url.spec.whatwg.org/#concept-ipv4-parser"""


class Unsafe(Exception):
    """A target to which no request may be sent; the text says why, and begins with the host or URL."""


@contextmanager
def only_safe(doing: str) -> Iterator[None]:
    """Translate `Unsafe` within the block to Misconfigured, with a remedy; `doing` begins the sentence."""
    try:
        yield
    except Unsafe as error:
        raise Misconfigured(
            f"{doing}: {error}, so no request was sent. If the registry is inside your own network, "
            "set private: true on its rule; else ask its operator for the reason"
        ) from error


@dataclass(frozen=True, slots=True)
class Target:
    """A request's target: `path` is encoded and has its query. The scheme is always https."""

    host: str
    port: int
    path: str = "/"

    @property
    def origin(self) -> tuple[str, int]:
        """Host and port: a secret is only ever sent to the same origin."""
        return self.host, self.port

    @property
    def server(self) -> str:
        """Host and port as a URL has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == HTTPS_PORT else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"https://{self.server}{self.path.partition('?')[0]}"

    def at(self, path: str) -> "Target":
        """Another path of the same server."""
        return Target(self.host, self.port, path)


def parse_server(text: str) -> Target:
    """The server of a host name with an optional port.

    Raises:
        Unsafe: it is not a host name.
    """
    server = text.lower()
    if not _SERVER.fullmatch(server):
        raise Unsafe(f"'{server[:80]}' is not a host name with an optional port")
    return _target(f"https://{server}/")


def parse_url(text: str, base: Target, *, private: bool = False) -> Target:
    """A URL from the registry at `base`, which may be relative.

    Raises:
        Unsafe: it is not https, has a user or no valid host, or (unless the registry is `private`) a port that is
            neither 443 nor the registry's own.
    """
    if len(text) > _URL_LIMIT or not _URL.fullmatch(text):
        raise Unsafe(f"{text[:80]!r} is not a URL")
    target = _target(text, f"https://{base.server}{base.path}")
    if not private and target.port not in (HTTPS_PORT, base.port):
        raise Unsafe(f"{target} has a port that is neither 443 nor the registry's own")
    return target


def _target(text: str, base: str = "") -> Target:
    try:  # an absolute URL is never joined: `https:///token` would get the host of the base
        parts = urlsplit(text if _HAS_SCHEME.match(text) else urljoin(base, text))
        port = parts.port
    except ValueError as error:
        raise Unsafe(f"{text[:80]!r} is not a URL") from error
    if "@" in parts.netloc:
        raise Unsafe(f"a URL at {parts.hostname or 'no host'} has a user name in it")
    if parts.scheme != "https":
        raise Unsafe(f"{parts.scheme or 'no scheme'}://{parts.netloc} is not https")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(_host(parts.hostname or ""), HTTPS_PORT if port is None else port, path)


def _host(text: str) -> str:
    """A host in its canonical form; numbers that some resolvers read as an address are invalid."""
    host = text.lower()
    try:
        if ":" in host and "%" not in host:
            return str(IPv6Address(host))
        if _NUMERIC.fullmatch(host):
            return str(IPv4Address(host))
    except AddressValueError as error:
        raise Unsafe(f"'{host[:80]}' is neither a host name nor an address in its usual form") from error
    if not _NAME.fullmatch(host):
        raise Unsafe(f"'{host[:80]}' is not a host name")
    return host


def require_host(host: str, *, private: bool, proxied: bool) -> None:
    """Check a host by its name, before it is resolved.

    A proxy resolves names itself, where they cannot be checked: so behind a proxy, addresses are unsafe, and so are
    names of local networks.

    Raises:
        Unsafe: no request may be sent to it.
    """
    if host in _METADATA_NAMES:
        raise Unsafe(f"{host} is a metadata service")
    try:
        address = ip_address(host)
    except ValueError:
        if not private and ("." not in host or host.endswith(_LOCAL_SUFFIXES)):
            raise Unsafe(f"{host} is a name of the local network") from None
        return
    require_address(host, address, private=private)
    if proxied and not private:
        raise Unsafe(f"{host} is an address, and behind a proxy only names are allowed")


def require_address(host: str, address: Address, *, private: bool) -> None:
    """Check an address that a host name was resolved to.

    Raises:
        Unsafe: it is not a public unicast address; with `private`, private and loopback addresses are allowed, but
            metadata services and link-local addresses are not.
    """
    name = host if host == str(address) else f"{host} resolves to {address}, which"
    meant = _embedded(address)
    if meant in _METADATA or address in _METADATA:
        raise Unsafe(f"{name} is the address of a metadata service")
    if meant.is_multicast or meant.is_unspecified or meant.is_link_local:
        raise Unsafe(f"{name} is a multicast, unspecified or link-local address")
    if meant.is_loopback or meant.is_private or not meant.is_global:
        if not private:
            raise Unsafe(f"{name} is a private or loopback address")
    elif meant.is_reserved or meant in _SITE_LOCAL or meant in _SIX_TO_FOUR_RELAYS:
        raise Unsafe(f"{name} is a reserved address")


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 address embeds (mapped, 6to4, NAT64), else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def owned_domain(host: str) -> str:
    """The domain that the owner of a host has registered: `example.co.uk` for `auth.example.co.uk`.

    "" for an address, a single label, and a public suffix itself. The list of public suffixes includes its private
    section: domains of which anybody can get a subdomain (`github.io`).
    Source: https://publicsuffix.org/list/
    """
    is_address = ":" in host or _NUMERIC.fullmatch(host)
    return "" if is_address else _public_suffixes().privatesuffix(host) or ""


@cache
def _public_suffixes() -> PublicSuffixList:
    return PublicSuffixList()  # it reads ten thousand lines: only if credentials may be sent to another host
