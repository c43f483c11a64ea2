"""The benchmark's own registry: CNCF distribution with TLS on loopback, whose access log counts the requests.

It stores everything in memory and requires no token. Tokens would cost `skopeo` one more request per tag, and the sweep
two in total.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import trustme

from sandbox.testing import find_program

_READY_SECONDS = 15.0
_PUSHERS = 4
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()


@dataclass(frozen=True, slots=True)
class BenchRegistry:
    """The registry's host, and the folder with its certificates and its log."""

    host: str
    folder: Path

    @property
    def bundle(self) -> Path:
        """The certificates to trust."""
        return self.folder / "authority.pem"

    @property
    def log(self) -> Path:
        """The access log."""
        return self.folder / "log"

    def push(self, repository: str, images: Sequence[tuple[str, bytes]]) -> None:
        """Push images that have no layers: tags and manifests, several at a time."""

        def push_some(some: Sequence[tuple[str, bytes]]) -> None:
            with self._connection() as connection:
                for tag, content in some:
                    _send(connection, "PUT", f"/v2/{repository}/manifests/{tag}", content, _MANIFEST)

        with self._connection() as connection:
            begun = _send(connection, "POST", f"/v2/{repository}/blobs/uploads/")
            place = urlsplit(begun.headers["Location"])
            _send(connection, "PUT", f"{place.path}?{place.query}&digest={digest_of(_CONFIG)}", _CONFIG)
        with ThreadPoolExecutor(_PUSHERS) as pushers:
            list(pushers.map(push_some, [images[first::_PUSHERS] for first in range(_PUSHERS)]))

    def answered(self, at_least: int = 0) -> Counter[str]:
        """The number of requests it has answered, by method and kind: `HEAD manifests`.

        The log may lag a little: waits, a second at most, until there are `at_least` so many.
        """
        deadline = time.monotonic() + 1
        while (counts := self._logged()).total() < at_least and time.monotonic() < deadline:
            time.sleep(0.02)
        return counts

    def _logged(self) -> Counter[str]:
        requests = (line.split('"')[1].split() for line in self.log.read_text().splitlines() if line.count('"') > 1)
        return Counter(f"{method} {_kind(path)}" for method, path, *_ in requests)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[http.client.HTTPSConnection]:
        trust = ssl.create_default_context(cafile=str(self.bundle))
        with contextlib.closing(http.client.HTTPSConnection(self.host, context=trust)) as connection:
            yield connection


@contextlib.contextmanager
def bench_registry() -> Iterator[BenchRegistry]:
    """Run the registry, empty at first, for the duration of the block."""
    program = find_program("docker-registry")
    if program is None:
        sys.exit("docker-registry is not installed: make setup")
    with tempfile.TemporaryDirectory(prefix="basegate-bench-") as name:
        folder = Path(name)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            host = f"127.0.0.1:{free.getsockname()[1]}"
        registry = BenchRegistry(host, folder)
        configuration = _configuration(registry)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
        setpriv = find_program("setpriv")  # the registry ends with the benchmark, however that ends
        lifeline = [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
        command = [*lifeline, program, "serve", str(configuration)]
        with (
            registry.log.open("wb") as log,
            subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment) as process,
        ):
            try:
                _await_ready(registry)
                yield registry
            finally:
                process.terminate()


def manifest(text: str) -> bytes:
    """The manifest of an image without layers; a different text results in a different digest."""
    config = {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": digest_of(_CONFIG),
        "size": len(_CONFIG),
    }
    document = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": []}
    return json.dumps(document | {"annotations": {"text": text}}).encode()


def digest_of(content: bytes) -> str:
    """The digest of some bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _configuration(registry: BenchRegistry) -> Path:
    folder, authority = registry.folder, trustme.CA()
    authority.cert_pem.write_to_path(str(registry.bundle))
    certificate, key = folder / "server.pem", folder / "server.key"
    issued = authority.issue_cert("127.0.0.1")
    certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    file = folder / "registry.json"
    tls = {"certificate": str(certificate), "key": str(key)}
    content = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"inmemory": {}},
        "http": {"addr": registry.host, "tls": tls},
    }
    file.write_text(json.dumps(content))
    return file


def _send(
    connection: http.client.HTTPSConnection, method: str, path: str, body: bytes = b"", kind: str = ""
) -> http.client.HTTPResponse:
    connection.request(method, path, body, {"Content-Type": kind or "application/octet-stream"})
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status in (201, 202), f"{method} {path}: {answer.status} {content!r}"
    return answer


def _kind(path: str) -> str:
    parts = path.split("/")
    return next((kind for kind in ("manifests", "blobs", "tags") if kind in parts), "version")


def _await_ready(registry: BenchRegistry) -> None:
    host, _, port = registry.host.partition(":")
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port))):
            return
        time.sleep(0.02)
    sys.exit(f"docker-registry does not respond within {_READY_SECONDS:.0f} s: {registry.log.read_text()[-500:]}")
