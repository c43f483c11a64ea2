"""The stand-in scanner at a registry: tokens, logins, redirects, and content that is not what was asked for."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sandbox.scanner.errors import ScanError
from sandbox.scanner.layers import read_files
from sandbox.scanner.packages import DATABASES, tells_of_packages
from sandbox.scanner.registry import Reference, pulled

LOGIN = base64.b64encode(b"scanner:pass:word").decode()


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def layer() -> bytes:
    buffer, content = io.BytesIO(), b"ID=alpine\nVERSION_ID=3.19.1\n"
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("etc/os-release")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


LAYER = layer()
CONFIG = json.dumps({"os": "linux", "rootfs": {"diff_ids": [digest(LAYER)]}}).encode()
MANIFEST = json.dumps({"config": {"digest": digest(CONFIG)}, "layers": [{"digest": digest(LAYER)}]}).encode()
INDEX = json.dumps(
    {"manifests": [{"digest": digest(MANIFEST), "platform": {"os": "linux", "architecture": "amd64"}}]}
).encode()


class Registry:
    """A private repository `base/node` with one image in an index; its blobs are at another host (`localhost`)."""

    def __init__(self) -> None:
        self.documents = {f"/v2/base/node/manifests/{digest(one)}": one for one in (INDEX, MANIFEST)}
        self.blobs = {f"/blobs/{digest(one)}": one for one in (CONFIG, LAYER)}
        self.elsewhere: list[str | None] = []
        self.realm = ""

    def answer(self, host: str, path: str, authorization: str | None) -> tuple[int, dict[str, str], bytes]:
        if path in self.blobs:
            self.elsewhere.append(authorization)
            return 200, {}, self.blobs[path]
        if path.startswith("/token?service=here&scope=repository%3Abase%2Fnode%3Apull"):
            is_known = authorization == f"Basic {LOGIN}"
            return (200, {}, b'{"token": "t0k3n"}') if is_known else (401, {}, b"")
        if authorization != "Bearer t0k3n":
            realm = self.realm or f"http://{host}/token"
            return 401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="here"'}, b""
        if path in self.documents:
            return 200, {}, self.documents[path]
        name = path.removeprefix("/v2/base/node/blobs/")
        if f"/blobs/{name}" in self.blobs:
            port = host.partition(":")[2]
            return 307, {"Location": f"http://localhost:{port}/blobs/{name}"}, b""
        return 404, {}, b""


@pytest.fixture
def served() -> Iterator[tuple[Registry, str]]:
    registry = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = registry.answer(self.headers["Host"], self.path, self.headers["Authorization"])
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield registry, f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path: Path, served: tuple[Registry, str]) -> Path:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text(json.dumps({"auths": {served[1]: {"auth": LOGIN}}}))
    return tmp_path


def files(name: str, home: Path) -> list[str]:
    with pulled(name, "linux/amd64", {"HOME": str(home)}) as image:
        assert image.digests == (digest(INDEX), digest(MANIFEST))
        assert image.repository == name.partition("@")[0]
        return list(read_files(image.layers, tells_of_packages, DATABASES))


def test_a_private_image_is_pulled_with_the_login_of_docker(served: tuple[Registry, str], home: Path) -> None:
    assert files(f"{served[1]}/base/node@{digest(INDEX)}", home) == ["etc/os-release"]


def test_a_redirect_to_another_host_does_not_get_the_token(served: tuple[Registry, str], home: Path) -> None:
    files(f"{served[1]}/base/node@{digest(INDEX)}", home)
    assert served[0].elsewhere == [None, None]


def test_without_a_login_access_is_denied_in_a_sentence(served: tuple[Registry, str], tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="the registry answered 401"):
        files(f"{served[1]}/base/node@{digest(INDEX)}", tmp_path / "nobody")


def test_a_login_is_not_sent_to_a_realm_without_tls(served: tuple[Registry, str], home: Path) -> None:
    served[0].realm = "http://127.0.0.1.example/token"
    with pytest.raises(ScanError, match="denies access"):
        files(f"{served[1]}/base/node@{digest(INDEX)}", home)


@pytest.mark.parametrize("part", [INDEX, MANIFEST, CONFIG, LAYER])
def test_content_that_is_not_what_its_digest_says_is_refused(
    part: bytes, served: tuple[Registry, str], home: Path
) -> None:
    registry, host = served
    for stored in (registry.documents, registry.blobs):
        for path in stored:
            if path.endswith(digest(part)):
                stored[path] = part + b" "
    with pytest.raises(ScanError, match="what should be sha256:"):
        files(f"{host}/base/node@{digest(INDEX)}", home)


def test_an_image_that_is_not_there_is_told(served: tuple[Registry, str], home: Path) -> None:
    with pytest.raises(ScanError, match="the registry answered 404 for http://127"):
        files(f"{served[1]}/base/node@{digest(b'other')}", home)


def test_a_registry_that_is_not_there_is_told(home: Path) -> None:
    with pytest.raises(ScanError, match=r"127\.0\.0\.1:1/v2/base/node/manifests/sha256:.* cannot be read"):
        files(f"127.0.0.1:1/base/node@{digest(INDEX)}", home)


@pytest.mark.parametrize("content", ["{", "[]", '{"auths": {"HOST": {"auth": "not base64!"}}}'])
def test_a_file_of_logins_that_cannot_be_read_is_told_without_its_content(
    content: str, served: tuple[Registry, str], home: Path
) -> None:
    (home / ".docker" / "config.json").write_text(content.replace("HOST", served[1]))
    with pytest.raises(ScanError, match=r"the logins in .*config\.json are not readable: \w+$"):
        files(f"{served[1]}/base/node@{digest(INDEX)}", home)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("contoso.azurecr.io/a/b:1", Reference("contoso.azurecr.io", "a/b", "1")),
        (f"localhost:5000/a:1@{digest(b'')}", Reference("localhost:5000", "a", digest(b""))),
        ("docker.io/library/node", Reference("docker.io", "library/node", "latest")),
        ("node:15", None),
        ("contoso.azurecr.io/A:1", None),
        ("contoso.azurecr.io/a/../b:1", None),
        ("user@contoso.azurecr.io/a:1", None),
    ],
)
def test_a_name_needs_its_registry(text: str, expected: Reference | None) -> None:
    assert Reference.parse(text) == expected
