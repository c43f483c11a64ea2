"""Where requests may go: hosts, URLs and addresses."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from shared.adapters.oci.dialects import Place
from shared.adapters.oci.safety import Target, Unsafe, parse_url, require_address, require_host
from shared.domain.errors import Misconfigured
from shared.domain.policy import RegistryRule

BASE = Target("registry.example.com", 443, "/v2/node/tags/list?n=3")


def server(login_server: str) -> Target:
    return Place.of(RegistryRule(name="any", server=login_server), "node").server


@pytest.mark.parametrize(
    ("login_server", "expected"),
    [
        ("ghcr.io", Target("ghcr.io", 443)),
        ("GHCR.io", Target("ghcr.io", 443)),
        ("ghcr.io:", Target("ghcr.io", 443)),  # RFC 3986 allows an empty port
        ("docker.io", Target("registry-1.docker.io", 443)),
        ("index.docker.io", Target("registry-1.docker.io", 443)),
        ("registry-1.docker.io", Target("registry-1.docker.io", 443)),
        ("registry.corp.example:5000", Target("registry.corp.example", 5000)),
        ("[2001:db8::1]:5000", Target("2001:db8::1", 5000)),
    ],
)
def test_a_login_server_is_a_host_with_an_optional_port(login_server: str, expected: Target) -> None:
    assert server(login_server) == expected


@pytest.mark.parametrize(
    "login_server",
    [
        "",
        "https://ghcr.io",
        "ghcr.io/owner",
        "me@ghcr.io",
        "ghcr.io:0x50",
        "ghcr.io:99999",
        "a..b",
        "-a.io",
        "a_.io",
        "1.2.3",
        "0x7f000001",
        "017700000001",
        "1.2.3.4.5",
        "256.1.1.1",
        "01.1.1.1",
        "a.0x1",
        "[fe80::1%25eth0]",
        "[::1",
        "ex ample.io",
        "b\u00fccher.example",
        "a" * 64 + ".io",
        "ghcr.io.",
        "ghcr.io\n",
        "ghcr.io?x",
        "ghcr.io#x",
    ],
)
def test_a_login_server_that_is_none_is_refused(login_server: str) -> None:
    with pytest.raises(Misconfigured):
        server(login_server)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/v2/node/tags/list?last=b", Target("registry.example.com", 443, "/v2/node/tags/list?last=b")),
        ("?last=b", Target("registry.example.com", 443, "/v2/node/tags/list?last=b")),
        ("list?last=b", Target("registry.example.com", 443, "/v2/node/tags/list?last=b")),
        ("https://auth.example.com/token#part", Target("auth.example.com", 443, "/token")),
        ("https://auth.example.com", Target("auth.example.com", 443, "/")),
        ("//auth.example.com:443/t", Target("auth.example.com", 443, "/t")),
        ("HTTPS://AUTH.example.com/t", Target("auth.example.com", 443, "/t")),
    ],
)
def test_a_url_may_be_relative_to_the_registry(url: str, expected: Target) -> None:
    assert parse_url(url, BASE) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://registry.example.com/",
        "https:/registry.example.com/",
        "https:registry.example.com",
        "https:///token",
        "javascript:1",
        "file:///etc/passwd",
        "https://registry.example.com:8443/",
        "https://registry.example.com:65536/",
        "https://a@b.example.com/",
        "https://registry.example.com\\@evil.net/",
        "https://registry.example.com/\r\nX: y",
        "https://a b/",
        "/" + "x" * 5000,
        "https://[::1/",
        "https://%31%32%37.0.0.1/",
        "https://127.0.0.1%2f@x/",
        "https://\uff11\uff12\uff17.0.0.1/",
    ],
)
def test_a_url_that_could_be_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(Unsafe):
        parse_url(url, BASE)


def test_ports_are_the_registrys_own_or_that_of_https() -> None:
    own = Target("registry.example.com", 5000, "/")
    assert parse_url("https://registry.example.com:5000/t", own).port == 5000
    assert parse_url("https://auth.example.com/t", own).port == 443
    with pytest.raises(Unsafe):
        parse_url("https://auth.example.com:22/t", own)
    assert parse_url("https://auth.example.com:5001/t", own, private=True).port == 5001


def test_a_target_is_shown_without_its_query() -> None:
    assert str(Target("2001:db8::1", 5000, "/token?password=no")) == "https://[2001:db8::1]:5000/token"


PUBLIC = ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
PRIVATE = [
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "127.0.0.1",
    "127.9.9.9",
    "100.64.0.1",
    "::1",
    "fd00::1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "64:ff9b::a00:1",
    "2002:a00:1::",
]
NEVER = [
    "169.254.169.254",
    "169.254.0.1",
    "168.63.129.16",
    "100.100.100.200",
    "fe80::1",
    "fd00:ec2::254",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
]
ODD = ["240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "fec0::1", "192.88.99.1", "::127.0.0.1", "2001::1"]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_asked(address: str) -> None:
    require_address("a.example.com", ip_address(address), private=False)


@pytest.mark.parametrize("address", PRIVATE + NEVER + ODD)
def test_what_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(Unsafe, match=r"a\.example\.com resolves to "):
        require_address("a.example.com", ip_address(address), private=False)


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_registry_may_be_at_a_private_address(address: str) -> None:
    require_address("a.example.com", ip_address(address), private=True)


@pytest.mark.parametrize("address", NEVER)
def test_a_private_registry_is_no_metadata_service(address: str) -> None:
    with pytest.raises(Unsafe):
        require_address("a.example.com", ip_address(address), private=True)


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "vault", "db.internal", "printer.local", "nas.home.arpa"])
def test_names_of_the_local_network_are_for_private_registries(host: str) -> None:
    require_host(host, private=True, proxied=False)
    with pytest.raises(Unsafe, match="is a name of the local network"):
        require_host(host, private=False, proxied=False)


@pytest.mark.parametrize("host", ["metadata.google.internal", "metadata"])
@pytest.mark.parametrize("private", [True, False])
def test_a_metadata_service_is_never_asked(host: str, private: bool) -> None:
    with pytest.raises(Unsafe, match="is a metadata service"):
        require_host(host, private=private, proxied=True)


def test_behind_a_proxy_only_names_are_asked_for() -> None:
    require_host("93.184.216.34", private=False, proxied=False)
    with pytest.raises(Unsafe, match="behind a proxy only names"):
        require_host("93.184.216.34", private=False, proxied=True)
    require_host("10.0.0.1", private=True, proxied=True)
