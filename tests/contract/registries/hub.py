"""A registry that speaks as Docker Hub does: two hosts, `library/`, and a rate limit told in headers.

Source: https://docs.docker.com/docker-hub/usage/pulls/
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

from tests.contract.registries.double import Asked, Reply, error_reply, json_reply
from tests.contract.registries.reading import WRONG

REGISTRY, TOKENS = "registry-1.docker.io", "auth.docker.io"
_PAUSED = "You have reached your pull rate limit. You may increase the limit by authenticating and upgrading"
_INDEX = "application/vnd.oci.image.index.v1+json"


class Hub:
    """Answers for both hosts. `manifests` are bodies by `repository:tag`.

    A GET of a manifest is a pull. From the moment that `pause` holds headers, every manifest is refused with them.
    `life_seconds` is what a token is said to live; `revoked` holds those that the registry takes no more.
    """

    def __init__(self) -> None:
        self.manifests: dict[str, bytes] = {}
        self.listed: dict[str, list[str]] = {}
        self.remaining, self.life_seconds = 100, 300
        self.pause: Mapping[str, str] | None = None
        self.issued: list[str] = []
        self.revoked: set[str] = set()
        self.passwords: list[str] = []
        self.etags = False

    def __call__(self, asked: Asked) -> Reply:
        if asked.headers["host"] == TOKENS:
            return self._token(asked)
        assert asked.headers["host"] == REGISTRY
        repository, kind, reference = asked.path.removeprefix("/v2/").rsplit("/", 2)
        token = asked.authorization.removeprefix("Bearer ")
        if token not in self.issued or token in self.revoked or not token.startswith(_prefix(repository)):
            realm = f'Bearer realm="https://{TOKENS}/token",service="registry.docker.io"'
            challenge = f'{realm},scope="repository:{repository}:pull"'
            return error_reply(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=challenge)
        return (
            self._manifest(asked, f"{repository}:{reference}") if kind == "manifests" else self._tags(asked, repository)
        )

    def digest(self, name: str) -> str:
        """The digest of what is there."""
        return "sha256:" + hashlib.sha256(self.manifests[name]).hexdigest()

    def _token(self, asked: Asked) -> Reply:
        assert asked.path == "/token"
        assert asked.query["service"] == "registry.docker.io"
        scheme, _, value = asked.authorization.partition(" ")
        if scheme == "Basic":
            password = base64.b64decode(value).decode().partition(":")[2]
            self.passwords.append(password)
            if password == WRONG:
                return json_reply({"details": "incorrect username or password"}, 401)
        repository = asked.query["scope"].split(":")[1]
        token = f"{_prefix(repository)}{len(self.issued)}"
        self.issued.append(token)
        return json_reply({"token": token, "access_token": token, "expires_in": self.life_seconds})

    def _manifest(self, asked: Asked, name: str) -> Reply:
        rate = {
            "RateLimit-Limit": "100;w=21600",
            "RateLimit-Remaining": f"{self.remaining};w=21600",
            "Docker-RateLimit-Source": "203.0.113.7",
        }
        if self.pause is not None:
            reply = error_reply(429, "TOOMANYREQUESTS", _PAUSED)
            return Reply(429, {**reply.headers, **rate, **self.pause}, reply.body)
        if name not in self.manifests:
            return error_reply(404, "MANIFEST_UNKNOWN", "manifest unknown")
        if asked.method == "GET":
            self.remaining -= 1
        if _INDEX not in asked.headers["accept"]:
            return error_reply(404, "MANIFEST_UNKNOWN", "no OCI index was asked for")
        body = self.manifests[name]
        headers = {"Content-Type": _INDEX, "Docker-Content-Digest": self.digest(name), "Content-Length": str(len(body))}
        return Reply(200, headers | rate, body)

    def _tags(self, asked: Asked, repository: str) -> Reply:
        """Pages by `n` and `last`, with an ETag where these are on."""
        names = sorted(self.listed.get(repository, ()))
        if not names:
            return error_reply(404, "NAME_UNKNOWN", "repository name not known to registry")
        size, last = int(asked.query.get("n", len(names))), asked.query.get("last", "")
        rest = [name for name in names if name > last]
        headers = {}
        if len(rest) > size:
            headers["Link"] = f'</v2/{repository}/tags/list?last={rest[size - 1]}&n={size}>; rel="next"'
        etag = '"' + hashlib.sha256(repr((rest[:size], headers)).encode()).hexdigest()[:16] + '"'
        if self.etags:
            if asked.headers.get("if-none-match") == etag:
                return Reply(304, {"ETag": etag})
            headers["ETag"] = etag
        reply = json_reply({"name": repository, "tags": rest[:size]})
        return Reply(200, {**reply.headers, **headers}, reply.body)


def _prefix(repository: str) -> str:
    """How the tokens for a repository begin."""
    return repository.replace("/", ".") + "-"
