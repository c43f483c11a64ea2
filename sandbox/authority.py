"""The instance's certificate authority: a throwaway root that issues a certificate for any requested name."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

import trustme

from sandbox.private import has_content, write_private


class Authority:
    """Issues server certificates and writes the bundle (`bundle.pem`) that clients trust: the system's CAs and ours."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        key, certificate = folder / "ca.key", folder / "ca.pem"
        if has_content(key) and has_content(certificate):
            self._ca = trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes())
        else:
            self._ca = trustme.CA(organization_name="Azure sandbox")
            key.unlink(missing_ok=True)  # a key beside the certificate of another one would be taken for its own
            write_private(certificate, self._ca.cert_pem.bytes(), durable=True)
            write_private(key, self._ca.private_key_pem.bytes(), durable=True)
        self.bundle = folder / "bundle.pem"
        self.bundle.write_bytes(_system_certificates() + self._ca.cert_pem.bytes())
        self.bundle.chmod(0o644)
        self.server_context = lru_cache(maxsize=512)(self._server_context)

    def client_context(self) -> ssl.SSLContext:
        """A client context that trusts only this instance's CA."""
        context = ssl.create_default_context()
        self._ca.configure_trust(context)
        return context

    def _server_context(self, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        self._ca.issue_cert(name).configure_cert(context)
        return context


def _system_certificates() -> bytes:
    """The machine's CA bundle, so that package clients that use our bundle can still verify their registries."""
    candidates = ("/etc/ssl/certs/ca-certificates.crt", ssl.get_default_verify_paths().openssl_cafile)
    for candidate in candidates:
        if Path(candidate).is_file():
            return Path(candidate).read_bytes()
    return b""
