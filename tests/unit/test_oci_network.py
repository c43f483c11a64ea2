"""The way out, as the environment describes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.adapters.oci import Network
from shared.domain.errors import Misconfigured


def test_the_environment_says_which_way_is_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert Network.of_environment().proxy_for("ghcr.io") == ""
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example.com:3128")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,.corp.example")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/bundle.pem")
    network = Network.of_environment()
    assert network.proxy_for("ghcr.io") == "http://proxy.example.com:3128"
    assert network.proxy_for("registry.corp.example") == ""
    assert network.ca_bundle == "/etc/bundle.pem"


def test_a_bundle_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "odd.pem").write_text("no certificate")
    assert Network(ca_bundle=str(tmp_path)).ssl_context()
    for name in ("odd.pem", "missing.pem"):
        with pytest.raises(Misconfigured, match=rf"{name} cannot be read .* correct REQUESTS_CA_BUNDLE"):
            Network(ca_bundle=str(tmp_path / name)).ssl_context()
