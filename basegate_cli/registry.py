"""Reading an image's manifest, and what refers to it, from its registry: anonymously, or with a user and a password.

The registry is not trusted: what it sends is bounded, and counts only if its hash is the digest that was asked for.
Source: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from shared.domain.errors import Malformed
from shared.domain.image import Digest, digest_tag, parse_digest, parse_repository, parse_tag

_TIMEOUT_SECONDS = 30.0
_LIMIT_BYTES = 4 * 1024 * 1024
"""The size of a manifest that every registry must accept; of records, far more than one needs."""

_PAGES = 20
_REDIRECTS = 3
_HOST = re.compile(r"(?:(?=.*[.:]|localhost\Z)[A-Za-z0-9.-]+|\[::1\])(?::(?P<port>[0-9]{1,5}))?")
"""A host that is no part of a repository: it has a dot or a port, or is `localhost`."""

_LAST_PORT = 65535
_ALONE = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:.]+\]")
_ADDRESS = re.compile(r"[0-9.]+")
_LOOPBACK = frozenset(("127.0.0.1", "::1", "localhost"))
_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFESTS = (
    f"{_INDEX}, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_NO_API = frozenset(range(400, 500)) - {401, 403, 429}
"""The answers of registries that do not know what was asked for: some have no 404 for it."""

_URL = re.compile(r"[!-~]{1,8192}")
_TOKEN = re.compile(r"[!-~]{1,32768}")
_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')
_DOCKER_HUB = "docker.io"
TOKEN_USER = "00000000-0000-0000-0000-000000000000"  # noqa: S105 (a user)
"""The user of a token that `az acr login` got: https://learn.microsoft.com/azure/container-registry/container-registry-authentication#az-acr-login-with---expose-token"""


class Refused(Exception):
    """The registry refuses, sends what cannot be used, or does not have it; or the image's name is none."""


class Unreached(Exception):
    """The registry sends no response."""


class Image(NamedTuple):
    """An image by name: its registry's host, its repository, and a tag or digest."""

    host: str
    repository: str
    reference: str


class Login(NamedTuple):
    """A user and a password for one registry; an empty user is nobody."""

    user: str = ""
    password: str = ""

    @property
    def header(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


def parse_image(text: str) -> Image:
    """`<registry>/<repository>[:<tag>][@<digest>]`; a digest counts more than a tag, without both the tag is `latest`.

    Raises:
        Refused: it is not the name of an image in a registry.
    """
    host, slash, rest = text.partition("/")
    named = _HOST.fullmatch(host)
    if not slash or named is None or not 0 < int(named["port"] or 443) <= _LAST_PORT:
        raise Refused(f"{text!r} does not begin with a registry: name the image like registry.azurecr.io/node:20")
    rest, _, digest = rest.partition("@")
    repository, _, tag = rest.partition(":")
    try:
        reference = parse_digest(digest) if digest else parse_tag(tag or "latest")
        return Image(host.lower(), parse_repository(repository), reference)
    except Malformed as error:
        raise Refused(f"{text!r} is not the name of an image: {error}") from None


def parse_host(text: str) -> str:
    """The name or address of a host, without a scheme, a port and a path; an IPv6 address loses its brackets.

    Raises:
        Refused: there is more, or no host.
    """
    host = text.lower()
    if not _ALONE.fullmatch(host):
        raise Refused(f"{text[:200]!r} is not the name of a host alone: write it like auth.example.com")
    return host.strip("[]")


def login_for(host: str, user: str, password: str) -> Login:
    """The login of a registry: what was given, else what `docker login` has stored, else nobody's."""
    if user:
        return Login(user, password)
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))["auths"][host]
        name, _, secret = base64.b64decode(stored.get("auth", "")).decode().partition(":")
        if token := stored.get("identitytoken"):
            return Login(TOKEN_USER, str(token))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Login()
    return Login(name, secret)


class Registry:
    """One registry; `token_server` is a host besides its own, of `parse_host`, that may get the password."""

    def __init__(self, host: str, login: Login, token_server: str = "") -> None:
        name = urllib.parse.urlsplit(f"//{host}").hostname or ""
        self._is_local, self._name, self._token_server = name in _LOOPBACK, name, token_server
        self._host, self._login, self._authorization = host, login, ""
        api = "registry-1.docker.io" if host == _DOCKER_HUB else host
        self._base = f"{'http' if self._is_local else 'https'}://{api}/v2/"
        direct = [urllib.request.ProxyHandler({})] if self._is_local else []
        self._opener = urllib.request.build_opener(_NoRedirects, *direct)

    def manifest(self, repository: str, reference: str) -> tuple[Digest, bytes]:
        """A manifest by tag or digest, with its digest: the hash of what was sent.

        Raises:
            Refused: there is none, access is refused, or its bytes are not those of the digest. Unreached.
        """
        body = self._get(f"{repository}/manifests/{reference}", _MANIFESTS).body
        digest = Digest(f"sha256:{hashlib.sha256(body).hexdigest()}")
        if ":" in reference and digest != reference:
            raise Refused(f"the registry sent other bytes than those of {reference}")
        return digest, body

    def blob(self, repository: str, digest: str) -> bytes:
        """A blob.

        Raises:
            Refused: as for a manifest. Unreached.
        """
        body = self._get(f"{repository}/blobs/{digest}", "*/*").body
        if f"sha256:{hashlib.sha256(body).hexdigest()}" != digest:
            raise Refused(f"the registry sent other bytes than those of {digest}")
        return body

    def referrers(self, repository: str, digest: str, artifact_type: str) -> Iterator[dict[str, Any]]:
        """The descriptors of the artifacts of a type that refer to a digest, by the API or by the digest's tag.

        Raises:
            Refused, Unreached: they cannot be read.
        """
        path = f"{repository}/referrers/{digest}?{urllib.parse.urlencode({'artifactType': artifact_type})}"
        answer = self._get(path, _INDEX, _NO_API)
        if answer.status != 200:
            answer = self._get(f"{repository}/manifests/{digest_tag(digest)}", _INDEX, frozenset((404,)))
        for _ in range(_PAGES):
            yield from (one for one in _descriptors(answer) if one.get("artifactType") == artifact_type)
            following = _NEXT.search(answer.headers.get("Link", ""))
            if following is None:
                return
            target = self._joined(self._base + path, following[1])
            if not target.startswith(self._base):
                return
            path = target.removeprefix(self._base)
            answer = self._get(path, _INDEX)

    def _get(self, path: str, accept: str, expected: frozenset[int] = frozenset()) -> _Answer:
        """The answer to a request, of 200 or of an expected status; with a token if the registry asks for one."""
        url, headers = self._base + path, {"Accept": accept}
        answer = self._open(url, headers | self._authorized())
        if answer.status == 401:
            self._authorization = self._answered(answer.headers.get("WWW-Authenticate", ""))
            answer = self._open(url, headers | self._authorized())
        for _ in range(_REDIRECTS):
            if answer.status not in (301, 302, 303, 307, 308):
                break
            url = self._joined(url, answer.headers.get("Location", ""))
            answer = self._open(self._safe(url), headers)  # without the token: it is another host's
        if answer.status == 200 or answer.status in expected:
            return answer
        raise Refused(self._error_of(answer.status, path))

    def _authorized(self) -> dict[str, str]:
        return {"Authorization": self._authorization} if self._authorization else {}

    def _answered(self, challenge: str) -> str:
        """The value of an Authorization header that a challenge asks for, "" if there is none to send.

        Raises:
            Refused: the token is refused, or to be fetched from where the password must not go.
        """
        scheme, asked = challenge.partition(" ")[0].lower(), dict(_CHALLENGE.findall(challenge))
        if scheme == "basic":
            return self._login.header if self._login.user else ""
        if scheme != "bearer" or "realm" not in asked:
            return ""
        realm = self._safe(asked["realm"])
        if self._login.user and not self._is_own(realm):
            there = urllib.parse.urlsplit(realm).hostname or ""
            raise Refused(
                f"{self._host} asks to send the password to {realm}, which may be somebody else's: if you trust that "
                f"host, repeat this with --token-server {f'[{there}]' if ':' in there else there}"
            )
        query = urllib.parse.urlencode({name: asked[name] for name in ("service", "scope") if name in asked})
        headers = {"Authorization": self._login.header} if self._login.user else {}
        answer = self._open(f"{realm}{'&' if '?' in realm else '?'}{query}", headers)
        try:
            granted = json.loads(answer.body) if answer.status == 200 else {}
            token = granted.get("token") or granted["access_token"]
            if _TOKEN.fullmatch(token):
                return f"Bearer {token}"
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            pass
        raise Refused(self._error_of(answer.status if answer.status != 200 else 401, "a token"))

    def _is_own(self, url: str) -> bool:
        """Whether a URL is at the registry's host or at the named token server, above it or below it.

        Below docker.io is auth.docker.io, and above registry.gitlab.com gitlab.com, whose owner could take its place
        anyway. Hosts beside it may be anybody's: contoso.azurecr.io and fabrikam.azurecr.io. The app knows by the list
        of public suffixes which are not; this command does without that list, and has somebody to ask.
        """
        there, here = urllib.parse.urlsplit(url).hostname or "", self._name
        if there in (here, self._token_server):
            return True
        longer, shorter = (there, here) if len(there) > len(here) else (here, there)
        return longer.endswith(f".{shorter}") and "." in shorter and not _ADDRESS.fullmatch(shorter)

    def _safe(self, url: str) -> str:
        """A URL that may be followed: https, or this machine if the registry is on it.

        Raises:
            Refused: it is neither.
        """
        try:
            parts = urllib.parse.urlsplit(url)
            scheme, host = parts.scheme, parts.hostname if parts.port != 0 else None
        except ValueError:  # brackets or a port that are none
            scheme, host = "", None
        if (scheme == "https" and host) or (self._is_local and scheme == "http" and host in _LOOPBACK):
            return url
        raise Refused(f"{self._host} sends on to {url[:200]!r}, which is no https URL")

    def _joined(self, url: str, to: str) -> str:
        """A URL that may be relative to another. Raises `Refused` if it is none."""
        try:
            return urllib.parse.urljoin(url, to)
        except ValueError:
            raise Refused(f"{self._host} sends on to {to[:200]!r}, which is no https URL") from None

    def _open(self, url: str, headers: dict[str, str]) -> _Answer:
        if not _URL.fullmatch(url):
            raise Refused(f"{self._host} names a URL that cannot be requested: {url[:200]!r}")
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 (https, or this machine)
        try:
            return _read(self._opened(request))
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise Unreached(f"{self._host} cannot be reached: {reason}") from None
        except ValueError:  # of the name's encoding
            raise Refused(f"{urllib.parse.urlsplit(url).hostname!r} is not the name of a host") from None

    def _opened(self, request: urllib.request.Request) -> Any:
        """The answer to a request, be it an error."""
        try:
            return self._opener.open(request, timeout=_TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            return error

    def _error_of(self, status: int, path: str) -> str:
        what = f"{self._host}/{path.partition('?')[0]}"
        if status in (401, 403):
            who = f"the user {self._login.user} may not read it" if self._login.user else "log in with --username"
            return f"{self._host} refuses access to {what.removeprefix(self._host + '/')} ({status}): {who}"
        return f"{what} does not exist" if status == 404 else f"{what}: the registry answers {status}"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect by itself, which would send the token along; and parses no URL of one."""

    def http_error_302(self, *_: object) -> None:
        return None

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302  # type: ignore[assignment]


def _read(answer: Any) -> _Answer:
    """An answer, up to the limit.

    Raises:
        Refused: it is larger.
    """
    with answer:
        body = answer.read(_LIMIT_BYTES + 1)
    if len(body) > _LIMIT_BYTES:
        raise Refused(f"the registry sent more than {_LIMIT_BYTES} bytes")
    return _Answer(answer.status, answer.headers, body)


def _descriptors(answer: _Answer) -> list[dict[str, Any]]:
    """The descriptors of an index; none if there is no index.

    Raises:
        Refused: it is no index.
    """
    if answer.status == 404:
        return []
    try:
        listed = json.loads(answer.body).get("manifests") or []
    except (ValueError, AttributeError, RecursionError):
        raise Refused("the registry's list of referrers is no index") from None
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
