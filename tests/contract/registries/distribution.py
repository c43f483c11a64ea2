"""The real thing: CNCF distribution, with TLS, and with tokens where a token service is given."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import time
from pathlib import Path

from tests.contract.registries.double import Certificates
from tests.contract.registries.token_service import ISSUER, SERVICE, TokenService

_READY_SECONDS = 15


class Distribution:
    """A `docker-registry` process over a folder that tests write into: there is no need to push."""

    def __init__(self, folder: Path, certificates: Certificates, tokens: TokenService, realm: str) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        certificate, key = certificates.files(folder, "127.0.0.1")
        tokens.write_certificate(folder / "tokens.pem")
        configuration = {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
            "http": {"addr": self.host, "tls": {"certificate": str(certificate), "key": str(key)}},
            "auth": {
                "token": {
                    "realm": realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(folder / "tokens.pem"),
                }
            },
        }  # fmt: skip
        (folder / "registry.json").write_text(json.dumps(configuration))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(folder / "registry.json")], stdout=log, stderr=log, env=environment
            )
        self._wait()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def put(self, repository: str, *tags: str, text: str = "") -> str:
        """A manifest under some tags; returns its digest."""
        body = json.dumps(_manifest(text or repository)).encode()
        name = hashlib.sha256(body).hexdigest()
        root = self.folder / "data/docker/registry/v2"
        _write(root / f"blobs/sha256/{name[:2]}/{name}/data", body)
        manifests, link = root / f"repositories/{repository}/_manifests", f"sha256:{name}".encode()
        _write(manifests / f"revisions/sha256/{name}/link", link)
        for tag in tags:
            _write(manifests / f"tags/{tag}/current/link", link)
        return f"sha256:{name}"

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def _wait(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, "docker-registry does not answer"
                time.sleep(0.01)
            else:
                return


def _manifest(text: str) -> dict[str, object]:
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:" + "1" * 64, "size": 1}
    return {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": layer | {"mediaType": "application/vnd.oci.image.config.v1+json"},
        "layers": [],
        "annotations": {"text": text},
    }


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
