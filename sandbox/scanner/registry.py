"""Pulls an image from a registry: its manifests, its configuration, and its layers into a temporary folder.

Sources: https://github.com/opencontainers/distribution-spec/blob/main/spec.md,
https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import re
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any, BinaryIO

from sandbox.scanner.errors import ScanError
from sandbox.scanner.image import DIGEST, DOCUMENT_BYTES, Image, from_manifest, require_digest

_ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_WORDS = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<host>[a-z0-9.-]+\.[a-z0-9.-]+(?::\d+)?|localhost(?::\d+)?)/(?P<repository>{_WORDS}(?:/{_WORDS})*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_HUB, _HUB_API = frozenset(("docker.io", "index.docker.io")), "registry-1.docker.io"
_HUB_LOGIN = "https://index.docker.io/v1/"
_LOOPBACK = re.compile(r"(?:localhost|127\.0\.0\.1)(?::\d+)?")
_LAYER_BYTES = 8 * 1024**3
_CHUNK_BYTES = 1024**2
_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Reference:
    """The name of an image in a registry: its repository, and a tag or a digest."""

    host: str
    repository: str
    version: str

    @classmethod
    def parse(cls, text: str) -> Reference | None:
        """A name with its registry; None if it is none. A digest counts more than a tag."""
        match = _REFERENCE.fullmatch(text)
        return cls(match["host"], match["repository"], match["digest"] or match["tag"] or "latest") if match else None


@contextmanager
def pulled(name: str, platform: str, environment: Mapping[str, str] = os.environ) -> Iterator[Image]:
    """An image of a registry. The layers are in a temporary folder until the end.

    Credentials are read where `docker login` stores them: in `config.json` in `$DOCKER_CONFIG` or `$HOME/.docker`.

    Raises:
        ScanError: the name is none, the registry refuses or is not reached, or what it sends is not what was asked for.
    """
    reference = Reference.parse(name)
    if reference is None:
        raise ScanError(f"{name} is neither a file nor the full name of an image (registry/repository@sha256:…)")
    login = _login(reference.host, environment)
    with tempfile.TemporaryDirectory(prefix="osv-match-") as folder:
        repository = _Repository(reference, login, Path(folder))
        digest = repository.resolve(reference.version)
        yield from_manifest(name, f"{reference.host}/{reference.repository}", digest, repository, platform)


class _Repository:
    """A repository of a registry, as `Blobs`."""

    def __init__(self, reference: Reference, login: str, folder: Path) -> None:
        self._name, self._login, self._folder = reference.repository, login, folder
        host = _HUB_API if reference.host in _HUB else reference.host
        self._base = f"{'http' if _LOOPBACK.fullmatch(host) else 'https'}://{host}/v2/{self._name}"
        self._authorization = ""
        self._documents: dict[str, bytes] = {}

    def resolve(self, version: str) -> str:
        """The digest of the manifest that a tag or digest stands for."""
        with self._get(f"manifests/{version}") as answer:
            content = _limited(answer)
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        if DIGEST.fullmatch(version):
            require_digest(digest.removeprefix("sha256:"), version)
        self._documents[digest] = content
        return digest

    def document(self, digest: str) -> bytes:
        """See `Blobs.document`. A manifest is no blob: what is none of the blobs is asked for as a manifest."""
        if digest not in self._documents:
            try:
                with self._get(f"blobs/{digest}") as answer:
                    content = _limited(answer)
            except _NotFound:
                self.resolve(digest)
            else:
                require_digest(hashlib.sha256(content).hexdigest(), digest)
                self._documents[digest] = content
        return self._documents[digest]

    @contextmanager
    def open(self, digest: str) -> Iterator[BinaryIO]:
        """See `Blobs.open`."""
        path, found, left = self._folder / digest.removeprefix("sha256:"), hashlib.sha256(), _LAYER_BYTES
        with path.open("w+b") as file:
            with self._get(f"blobs/{digest}") as answer:
                while chunk := answer.read(_CHUNK_BYTES):
                    left -= len(chunk)
                    if left < 0:
                        raise ScanError(f"the layer {digest} has more than {_LAYER_BYTES // 1024**3} GiB")
                    found.update(chunk)
                    file.write(chunk)
            require_digest(found.hexdigest(), digest)
            file.seek(0)
            yield file
        path.unlink()

    @contextmanager
    def _get(self, path: str) -> Iterator[http.client.HTTPResponse]:
        url = f"{self._base}/{path}"
        try:
            try:
                answer = _open(url, self._authorization)
            except urllib.error.HTTPError as error:
                if error.code != 401 or self._authorization:
                    raise
                self._authorization = self._answer_to(error.headers)
                answer = _open(url, self._authorization)
            with answer:
                yield answer
        except urllib.error.HTTPError as error:
            kind = _NotFound if error.code == 404 else ScanError
            raise kind(f"the registry answered {error.code} for {url}") from error
        except (OSError, http.client.HTTPException) as error:
            raise ScanError(f"{url} cannot be read: {error}") from error

    def _answer_to(self, headers: Message) -> str:
        """The authorization that a registry asks for: the login itself, or a token for it."""
        challenge = str(headers.get("WWW-Authenticate", ""))
        parameters = dict(_PARAMETER.findall(challenge))
        if challenge.lower().startswith("basic ") and self._login:
            return f"Basic {self._login}"
        realm = parameters.get("realm", "")
        place = urllib.parse.urlsplit(realm)
        is_safe = place.scheme == "https" or (place.scheme == "http" and _LOOPBACK.fullmatch(place.netloc))
        if not challenge.lower().startswith("bearer ") or not is_safe:
            raise ScanError(f"the registry of {self._name} denies access, and there is no login for it")
        scope = f"repository:{self._name}:pull"
        query = urllib.parse.urlencode({"service": parameters.get("service", ""), "scope": scope})
        with _open(f"{realm}?{query}", f"Basic {self._login}" if self._login else "") as answer:
            document = json.loads(_limited(answer))
        token = (document.get("token") or document.get("access_token")) if isinstance(document, dict) else None
        if not isinstance(token, str):
            raise ScanError(f"the token service of {self._name} gave no token")
        return f"Bearer {token}"


class _NotFound(ScanError):
    """The registry has no such blob."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, to another host without the authorization: blobs are often stored elsewhere."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """See the base class."""
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request and urllib.parse.urlsplit(newurl).netloc != urllib.parse.urlsplit(req.full_url).netloc:
            request.remove_header("Authorization")
        return request


def _open(url: str, authorization: str) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers={"Accept": _ACCEPT, "User-Agent": "osv-match"})  # noqa: S310
    if authorization:
        request.add_header("Authorization", authorization)
    answer = urllib.request.build_opener(_Redirects).open(request, timeout=_SECONDS)
    assert isinstance(answer, http.client.HTTPResponse)
    return answer


def _limited(answer: http.client.HTTPResponse) -> bytes:
    content = answer.read(DOCUMENT_BYTES + 1)
    if len(content) > DOCUMENT_BYTES:
        raise ScanError(f"the registry sent more than {DOCUMENT_BYTES} bytes for a manifest or a configuration")
    return content


def _login(host: str, environment: Mapping[str, str]) -> str:
    """The login for a registry, in Base64; "" if there is none.

    Raises:
        ScanError: the file with the logins is not readable.
    """
    folder = environment.get("DOCKER_CONFIG") or str(Path(environment.get("HOME", "/root")) / ".docker")
    file = Path(folder) / "config.json"
    try:
        document = json.loads(file.read_bytes())
        entry = document.get("auths", {}).get(_HUB_LOGIN if host in _HUB else host) or {}
        login = str(entry.get("auth") or "")
        base64.b64decode(login, validate=True)
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, AttributeError) as error:
        raise ScanError(f"the logins in {file} are not readable: {type(error).__name__}") from error
    return login
