"""WWW-Authenticate, read strictly."""

from __future__ import annotations

import pytest

from shared.adapters.oci.auth import Challenge, parse_challenge
from shared.domain.errors import Malformed, Misconfigured

HUB = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/node:pull"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            HUB,
            Challenge("bearer", "https://auth.docker.io/token", "registry.docker.io", "repository:library/node:pull"),
        ),
        ('bearer realm="https://a/t"', Challenge("bearer", "https://a/t")),
        ('Bearer  realm = "https://a/t" , service=plain', Challenge("bearer", "https://a/t", "plain")),
        ('Bearer realm="https://a/t",scope="a:b,c"', Challenge("bearer", "https://a/t", "", "a:b,c")),
        ('Bearer realm="https://a/\\"t"', Challenge("bearer", 'https://a/"t')),
        ('Bearer Realm="https://a/t",error="insufficient_scope"', Challenge("bearer", "https://a/t")),
        ('Basic realm="Registry"', Challenge("basic")),
        ("Basic", Challenge("basic")),
        ('Basic realm="a, b", Bearer realm="https://a/t"', Challenge("bearer", "https://a/t")),
        ('Negotiate, Basic realm="x"', Challenge("basic")),
    ],
)
def test_the_challenge_that_can_be_met_is_found(header: str, expected: Challenge) -> None:
    assert parse_challenge(header, "ghcr.io/node") == expected


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        "Bearer",
        "Bearer service=a",
        'Bearer realm=""',
        'Bearer realm="a',
        "Bearer realm=https://a/t",
        'Bearer realm="a" service="b"',
        'Bearer realm="a",realm="b"',
        'Bearer realm="a\tb"',
        'Bearer realm="b\u00fccher"',
        '"',
        "=",
        'Bearer realm="' + "x" * 9000 + '"',
        "(" * 5000,
    ],
)
def test_what_is_no_challenge_is_told(header: str) -> None:
    with pytest.raises((Malformed, Misconfigured), match=r"ghcr.io/node"):
        parse_challenge(header, "ghcr.io/node")


def test_what_cannot_be_met_is_told_by_name() -> None:
    with pytest.raises(Misconfigured, match=r"ghcr.io/node requires negotiate, ntlm"):
        parse_challenge("Negotiate, NTLM", "ghcr.io/node")
