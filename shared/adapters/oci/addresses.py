"""Hosts and network addresses that may be asked, judged before anything is sent to them.

What a registry says (a token realm, a redirect, a next page) is input from outside: it must not make this app ask
its own machine, its own network or the platform's metadata service.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

_LOCAL_SUFFIXES = (
    ".localhost", ".localdomain", ".local", ".internal", ".intranet", ".private", ".corp", ".home", ".lan",
    ".home.arpa",
)  # fmt: skip
_METADATA_NAMES = frozenset(("metadata", "metadata.google.internal", "metadata.goog", "instance-data"))
_METADATA = frozenset(
    ip_address(text) for text in ("169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254")
)
_NAT64 = IPv6Network("64:ff9b::/96")
_SITE_LOCAL = IPv6Network("fec0::/10")
_SIX_TO_FOUR_RELAYS = IPv4Network("192.88.99.0/24")


class Refused(Exception):
    """No request goes there; the text says why, beginning with what was refused."""


def require_host(host: str, *, private: bool, proxied: bool) -> None:
    """Judge a host by its name, before it is resolved.

    Behind a proxy it is the proxy that resolves, so an address instead of a name, and a name that only a local
    network knows, are refused there: nothing here could see where they lead.

    Raises:
        Refused: says why.
    """
    literal = _literal(host)
    if literal is not None:
        require_address(host, literal, private=private)
        if proxied and not private:
            raise Refused(f"{host} is an address, and behind a proxy only names are asked for")
    elif host in _METADATA_NAMES:
        raise Refused(f"{host} is a metadata service")
    elif not private and ("." not in host or host.endswith(_LOCAL_SUFFIXES)):
        raise Refused(f"{host} is a name of the local network")


def require_address(host: str, address: Address, *, private: bool) -> None:
    """Judge an address that a host name was resolved to.

    Raises:
        Refused: it is no public unicast address; with `private`, private and loopback addresses may be used as well,
            metadata services and the like still not.
    """
    said = host if host == str(address) else f"{host} is at {address}, which"
    meant = _embedded(address)
    if meant in _METADATA or address in _METADATA:
        raise Refused(f"{said} is the address of a metadata service")
    if meant.is_multicast or meant.is_unspecified or meant.is_link_local:
        raise Refused(f"{said} is a multicast, unspecified or link-local address")
    if meant.is_loopback or meant.is_private or not meant.is_global:
        if not private:
            raise Refused(f"{said} is a private or loopback address")
    elif meant.is_reserved or meant in _SITE_LOCAL or meant in _SIX_TO_FOUR_RELAYS:
        raise Refused(f"{said} is a reserved address")


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 address only carries (mapped, 6to4, NAT64), else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
