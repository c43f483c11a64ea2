"""Where requests and secrets go: never to this machine, its network or its metadata service, never to strangers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from shared.adapters.oci import Network, OciTagReader
from shared.domain.errors import BasegateError, Malformed, Misconfigured, Retry
from shared.domain.policy import RegistryRule
from tests.contract.registries.double import Asked, Certificates, Double, Reply, json_reply
from tests.contract.registries.doubles import ANYONE, MEMBER, NAME, SMALL, Doubles
from tests.contract.registries.hostile import challenge, manifest, redirect
from tests.contract.registries.reading import PASSWORD, Passwords, nobody

INSIDE = [
    "https://127.0.0.1/token",
    "https://[::1]/token",
    "https://169.254.169.254/token",
    "https://168.63.129.16/token",
    "https://metadata.google.internal/token",
    "https://10.0.0.1/token",
    "https://[::ffff:10.0.0.1]/token",
    "https://[64:ff9b::a9fe:a9fe]/token",
    "https://[fd00:ec2::254]/token",
    "https://2130706433/token",
    "https://0x7f.1/token",
    "https://0177.0.0.1/token",
    "https://127.1/token",
    "https://localhost/token",
    "https://vault/token",
    "https://vault.internal/token",
    "http://registry.example.com/token",
    "ftp://registry.example.com/token",
    "https://registry.example.com:22/token",
    "https://user:word@registry.example.com/token",
    "https://registry.example.com\\\\@10.0.0.1/token",
    "https://registry.example.com@10.0.0.1/token",
    "https:///token",
    "https://exa mple.com/token",
    "https://b\u00fccher.example/token",
]
"""What a registry must not lead to, as it may be written."""


@pytest.fixture
def double(certificates: Certificates) -> Iterator[Double]:
    """A registry at an address of this machine, that is: a private one."""
    double = Double(certificates, manifest(Docker_Content_Digest="sha256:" + "1" * 64), NAME)
    yield double
    double.close()


def error_of(reader: OciTagReader, rule: RegistryRule = ANYONE) -> BasegateError:
    """What reading a digest ends with; it names the image, and no password."""
    with pytest.raises(BasegateError) as caught:
        reader.digest_of(rule, "node", "15")
    assert "/node" in str(caught.value)
    assert PASSWORD not in str(caught.value)
    return caught.value


def straight(certificates: Certificates) -> OciTagReader:
    """A reader without a proxy."""
    return OciTagReader(Passwords(), nobody, Network(ca_bundle=str(certificates.bundle)), SMALL)


# What a registry leads to.


@pytest.mark.parametrize("realm", INSIDE)
@pytest.mark.parametrize("rule", [ANYONE, MEMBER], ids=["anyone", "member"])
def test_no_token_is_asked_for_inside(doubles: Doubles, realm: str, rule: RegistryRule) -> None:
    error = error_of(doubles.play(challenge(realm)), rule)
    assert isinstance(error, Misconfigured | Malformed)
    assert len(doubles.asked) == 1
    assert doubles.doorway.asked == [f"{NAME}:443"]
    assert "word" not in str(error)


@pytest.mark.parametrize("place", INSIDE)
def test_no_redirect_leads_inside(doubles: Doubles, place: str) -> None:
    assert isinstance(error_of(doubles.play(redirect(place.replace("\\\\", "\\")))), Misconfigured)
    assert len(doubles.asked) == 1
    assert doubles.doorway.asked == [f"{NAME}:443"]


@pytest.mark.parametrize("server", ["169.254.169.254", "10.0.0.1", "localhost", "[::1]", "0x7f.1", "a/b", "u@h", ""])
def test_a_rule_leads_inside_only_if_it_says_so(doubles: Doubles, server: str) -> None:
    rule = RegistryRule(name="inside", server=server)
    assert isinstance(error_of(doubles.play(manifest()), rule), Misconfigured)
    assert doubles.doorway.asked == []


def test_redirects_are_followed_three_times(doubles: Doubles) -> None:
    def answer(asked: Asked) -> Reply:
        step = int(asked.query.get("step", 0))
        if step == 3:
            return Reply(200, {"Docker-Content-Digest": "sha256:" + "1" * 64})
        return Reply(307, {"Location": f"/elsewhere?step={step + 1}"})

    assert doubles.play(answer).digest_of(ANYONE, "node", "15") == "sha256:" + "1" * 64
    assert {asked.method for asked in doubles.asked} == {"HEAD"}
    assert "redirected more than 3 times" in str(error_of(doubles.play(redirect("/elsewhere"))))


def test_a_redirect_to_another_host_takes_no_token_along(doubles: Doubles) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.path == "/token":
            return json_reply({"token": "abc"})
        if not asked.authorization:
            return challenge(f"https://{NAME}/token")(asked)
        return Reply(307, {"Location": "https://blobs.example.com/node"})

    doubles.play(manifest(Docker_Content_Digest="sha256:" + "1" * 64), "blobs.example.com")
    assert doubles.play(answer).digest_of(ANYONE, "node", "15") == "sha256:" + "1" * 64
    elsewhere = [asked for asked in doubles.asked if asked.headers["host"] == "blobs.example.com"]
    assert [asked.authorization for asked in elsewhere] == [""]


def test_a_redirect_to_a_host_that_asks_for_more_is_refused(doubles: Doubles) -> None:
    doubles.play(challenge(f"https://{NAME}/token"), "blobs.example.com")
    error = error_of(doubles.play(redirect("https://blobs.example.com/node")), MEMBER)
    assert isinstance(error, Misconfigured)
    assert len(doubles.asked) == 2


# Addresses and names.


def test_a_name_that_leads_inside_is_refused(
    certificates: Certificates, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = RegistryRule(name="odd", server=f"{NAME}:{double.port}")
    resolve(monkeypatch, "127.0.0.1")
    error = error_of(straight(certificates), rule)
    assert isinstance(error, Misconfigured)
    assert f"{NAME} resolves to 127.0.0.1, which is a private or loopback address, so no request was sent" in str(error)
    resolve(monkeypatch, "93.184.216.34", "169.254.169.254")
    assert "metadata service" in str(error_of(straight(certificates), rule))
    assert double.connections == 0


def test_the_address_that_was_judged_is_the_one_that_is_asked(
    certificates: Certificates, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = resolve(monkeypatch, "127.0.0.1")
    rule = RegistryRule(name="own", server=f"{NAME}:{double.port}", private=True)
    reader = straight(certificates)
    for _ in range(3):
        assert reader.digest_of(rule, "node", "15") == "sha256:" + "1" * 64
    assert looked_up.count(NAME) == 1
    assert double.connections == 1


def test_a_metadata_service_is_not_private_but_out_of_bounds(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in ("169.254.169.254", "168.63.129.16", "fe80::1", "::ffff:169.254.169.254", "224.0.0.1", "0.0.0.0"):
        resolve(monkeypatch, address)
        assert isinstance(
            error_of(straight(certificates), RegistryRule(name="o", server=NAME, private=True)), Misconfigured
        )


def resolve(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let the public name resolve to these addresses; the names that are looked up are noted."""
    looked_up: list[str] = []
    lookup = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        looked_up.append(host)
        if host != NAME:
            return lookup(host, port, *rest, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return looked_up


def test_a_name_that_nobody_knows_is_told(certificates: Certificates, doubles: Doubles) -> None:
    error = error_of(straight(certificates), RegistryRule(name="typo", server="no-such-registry.invalid"))
    assert isinstance(error, Misconfigured)
    assert "there is no host no-such-registry.invalid: correct the server's name in its rule" in str(error)


def test_a_proxy_that_does_not_reach_the_registry_is_told(doubles: Doubles) -> None:
    reader = OciTagReader(Passwords(), nobody, doubles.network, SMALL)
    error = error_of(reader)
    assert isinstance(error, Retry)
    assert f"the proxy cannot reach {NAME}" in str(error)


def test_a_proxy_that_is_away_is_told(certificates: Certificates) -> None:
    network = Network(proxies={"https": "http://127.0.0.1:1"}, ca_bundle=str(certificates.bundle))
    error = error_of(OciTagReader(Passwords(), nobody, network, SMALL))
    assert isinstance(error, Retry)
    assert "the proxy" in str(error)


def test_a_proxy_that_is_none_is_told_without_its_password(certificates: Certificates) -> None:
    network = Network(proxies={"https": "http://me:word@[::1"}, ca_bundle=str(certificates.bundle))
    with pytest.raises(Misconfigured, match="HTTPS_PROXY is not the URL of a proxy") as caught:
        OciTagReader(Passwords(), nobody, network, SMALL).digest_of(ANYONE, "node", "15")
    assert "word" not in str(caught.value)


def test_no_proxy_is_respected(doubles: Doubles, double: Double) -> None:
    network = Network(proxies={"https": doubles.doorway.url, "no": "127.0.0.1"}, ca_bundle=doubles.network.ca_bundle)
    rule = RegistryRule(name="own", server=double.host, private=True)
    assert OciTagReader(Passwords(), nobody, network, SMALL).digest_of(rule, "node", "15") == "sha256:" + "1" * 64
    assert doubles.doorway.asked == []


# Certificates.


def test_a_certificate_that_nobody_vouches_for_is_told(double: Double) -> None:
    rule = RegistryRule(name="own", server=double.host, private=True)
    error = error_of(OciTagReader(Passwords(), nobody, Network(), SMALL), rule)
    assert isinstance(error, Misconfigured)
    assert "certificate" in str(error)
    assert double.asked == []


def test_a_certificate_for_another_name_is_told(doubles: Doubles, double: Double) -> None:
    doubles.doorway.ports["other.example.com"] = double.port
    reader = OciTagReader(Passwords(), nobody, doubles.network, SMALL)
    error = error_of(reader, RegistryRule(name="other", server="other.example.com"))
    assert isinstance(error, Misconfigured)
    assert "the certificate of other.example.com is not trusted (Hostname mismatch" in str(error)
    assert double.asked == []


def test_a_registry_without_tls_is_told(certificates: Certificates) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    thread = Thread(target=server.handle_request, daemon=True)
    thread.start()
    rule = RegistryRule(name="own", server=f"127.0.0.1:{server.server_address[1]}", private=True)
    error = error_of(straight(certificates), rule)
    thread.join(5)
    server.server_close()
    assert isinstance(error, Misconfigured)
    assert "does not speak TLS at that port" in str(error)


def test_a_port_where_nobody_listens_passes_by_itself(certificates: Certificates) -> None:
    rule = RegistryRule(name="own", server="127.0.0.1:1", private=True)
    assert isinstance(error_of(straight(certificates), rule), Retry)
