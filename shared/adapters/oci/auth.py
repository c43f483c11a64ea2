"""Authentication to registries: challenges, token requests, and a cache of valid tokens.

Sources: https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1,
https://distribution.github.io/distribution/spec/auth/token/ and
https://distribution.github.io/distribution/spec/auth/oauth/
"""

import base64
import math
import re
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock
from urllib.parse import urlencode

import msgspec
from cachetools import TLRUCache

from shared.adapters.azure_calls import Identity
from shared.adapters.oci.dialects import Place, TokenAnswer, may_see_credentials, usable_token
from shared.adapters.oci.errors import UNREADABLE, http_error
from shared.adapters.oci.safety import only_safe, parse_url
from shared.adapters.oci.transport import Request, Response
from shared.domain.errors import Malformed, Misconfigured, Rejected, Retry
from shared.domain.policy import RegistryRule
from shared.ports import Secrets

_HEADER_LIMIT = 8 * 1024
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"({_WORD})(?: +|(?=,|\Z))[ \t,]*")
_PARAMETER = re.compile(rf'({_WORD})[ \t]*=[ \t]*(?:({_WORD})|"((?:[ !#-\[\]-~]|\\[ -~])*)")[ \t]*(?:,[ \t,]*|\Z)')
_QUOTED_PAIR = re.compile(r"\\(.)")

_READING = frozenset(("pull", "metadata_read"))
_DEFAULT_SECONDS = 60.0
_LONGEST_SECONDS = 3600.0

_KEPT_TOKENS = 4096
_MARGIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Challenge:
    """`scheme` is `bearer` or `basic`; the rest are the parameters of a bearer challenge, "" if missing."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


def parse_challenge(header: str, whose: str) -> Challenge:
    """The challenge in WWW-Authenticate to answer: a bearer one if there is one, else a basic one.

    Raises:
        Malformed: the header is missing or invalid.
        Misconfigured: it requires another scheme, e.g. Negotiate.
    """
    if not header or len(header) > _HEADER_LIMIT:
        raise Malformed("WWW-Authenticate", f"{whose} responds with 401 and no usable challenge")
    challenges = dict(_challenges(header.lstrip(" \t,"), whose))
    if (bearer := challenges.get("bearer")) is not None:
        if not bearer.get("realm"):
            raise Malformed("WWW-Authenticate", f"{whose} requires a token and names no realm")
        return Challenge("bearer", bearer["realm"], bearer.get("service", ""), bearer.get("scope", ""))
    if "basic" in challenges:
        return Challenge("basic")
    raise Misconfigured(f"{whose} requires {', '.join(challenges)[:80]}: only tokens and Basic are supported")


def _challenges(header: str, whose: str) -> Iterator[tuple[str, dict[str, str]]]:
    scheme, parameters = "", dict[str, str]()
    place = 0
    while place < len(header):
        if scheme and (found := _PARAMETER.match(header, place)):
            name = found[1].lower()
            if name in parameters:
                raise Malformed("WWW-Authenticate", f"{whose} has {name[:40]} twice")
            parameters[name] = found[2] if found[2] is not None else _QUOTED_PAIR.sub(r"\1", found[3])
        elif found := _SCHEME.match(header, place):
            if scheme:
                yield scheme, parameters
            scheme, parameters = found[1].lower(), {}
        else:
            raise Malformed("WWW-Authenticate", f"{whose} has an invalid header")
        place = found.end()
    if scheme:
        yield scheme, parameters


@dataclass(frozen=True, slots=True)
class Token:
    """An Authorization header, and its lifetime."""

    header: str = field(repr=False)
    life_seconds: float


class TokenCache:
    """Caches tokens in memory, up to 4,096, the most recently used; `clock` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = Lock()
        self._kept: TLRUCache[Hashable, Token] = TLRUCache(_KEPT_TOKENS, ttu=_good_until, timer=clock)
        self._fetches: dict[Hashable, Future[str]] = {}

    def renew(self, key: Hashable, used: str, fetch: Callable[[], Token], ends_at: float = math.inf) -> str:
        """A header that is still valid for a while, other than `used`, which was rejected (or "").

        One caller fetches; concurrent callers for the same repository wait for that result, be it an error.

        Raises:
            Retry: there is no result at `ends_at` (monotonic seconds).
        """
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept.header != used:
                return kept.header
            under_way = self._fetches.get(key)
            mine = self._fetches.setdefault(key, Future())
        if under_way is not None:
            return _result(under_way, ends_at)
        try:
            token = fetch()
        except BaseException as error:  # any error: others wait for this fetch
            with self._lock:
                del self._fetches[key]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._fetches[key]
            self._kept[key] = token
        mine.set_result(token.header)
        return token.header


def _result(fetch: Future[str], ends_at: float) -> str:
    """What another caller fetches. A fetch ends by itself: without an end of one's own it is waited for."""
    done, _ = wait((fetch,), None if ends_at == math.inf else max(0.0, ends_at - time.monotonic()))
    if not done:
        raise Retry("a token that another request is getting does not come in time")
    return fetch.result()


def _good_until(_: Hashable, token: Token, now: float) -> float:
    return now + token.life_seconds - min(_MARGIN_SECONDS, token.life_seconds / 2)


class Authentication:
    """Gets the Authorization headers of registries, one for each repository, and caches them while they are valid.
    Redirects of token services are not followed: the credentials are for that service only.
    """

    def __init__(self, send: Callable[[Request], Response], secrets: Secrets, credential: Identity) -> None:
        self._send, self._secrets, self._credential = send, secrets, credential
        self._tokens = TokenCache()
        self._challenges: dict[Place, Challenge] = {}

    def header(self, place: Place, ends_at: float = math.inf) -> str:
        """The header of the first request: "" before the registry has sent a challenge.

        `ends_at` is the end of each request for a token, and of the wait for one (monotonic seconds).
        """
        challenge = self._challenges.get(place)
        if challenge is None:
            return ""
        try:
            return self._tokens.renew(place, "", lambda: self._token(place, challenge, ends_at), ends_at)
        except (Misconfigured, Malformed, Rejected):  # the challenge may have changed: request a new one
            self._challenges.pop(place, None)
            return ""

    def answer(self, place: Place, asked: str, used: str, ends_at: float = math.inf) -> str:
        """The header that a 401 with the challenge `asked` requires, after `used` was rejected; `ends_at` as above.

        Raises:
            Misconfigured: the credentials are wrong or missing, or may not be sent to the token service.
            Throttled, Retry, Malformed: the token service's error.
        """
        challenge = parse_challenge(asked, place.name)
        header = self._tokens.renew(place, used, lambda: self._token(place, challenge, ends_at), ends_at)
        self._challenges[place] = challenge
        return header

    def _token(self, place: Place, challenge: Challenge, ends_at: float) -> Token:
        doing, registry = f"getting a token for {place.name}", place.registry
        if challenge.scheme == "basic":
            if not registry.credentials:
                raise Misconfigured(f"{doing}: it requires a user and a password: name credentials on its rule")
            return Token(self._password(registry)[0], _LONGEST_SECONDS)
        with only_safe(doing):
            realm = parse_url(challenge.realm, place.server, private=registry.private)
        query = {"service": challenge.service} if challenge.service else {}
        query["scope"] = _scope(place, challenge.scope)
        request = Request(doing=doing, target=realm, private=registry.private, ends_at=ends_at)
        if (grant := place.dialect.grant) and not registry.credentials:
            answer = grant(place, request, query, self._credential, partial(self._post, place))
        else:
            target = realm.at(f"{realm.path}{'&' if '?' in realm.path else '?'}{urlencode(query)}")
            answer = self._by_get(place, replace(request, target=target))
        value = usable_token(answer.token or answer.access_token, request)
        life = answer.expires_in if answer.expires_in is not None and answer.expires_in > 0 else _DEFAULT_SECONDS
        return Token(f"Bearer {value}", min(_LONGEST_SECONDS, life))

    def _by_get(self, place: Place, request: Request) -> TokenAnswer:
        """An anonymous token, or one for the user of the rule if the token service may see the credentials."""
        registry, host = place.registry, place.server.host
        if not registry.credentials:
            return self._ask(request, place.dialect.remedy(registry))
        if not may_see_credentials(request.target.host, host):
            raise Misconfigured(
                f"{request.doing}: the token service {request.target.server} may not belong to {host}, so the "
                "credentials were not sent to it",
                remedy="ask the registry's operator for a token service under its own domain",
            )
        header, secrets = self._password(registry)
        request = replace(request, headers={"Authorization": header}, secrets=secrets)
        return self._ask(request, f"correct the secrets {registry.credentials}-user and -password")

    def _post(self, place: Place, request: Request, form: Mapping[str, str], secret: str) -> TokenAnswer:
        headers, body = {"Content-Type": "application/x-www-form-urlencoded"}, urlencode(form).encode()
        request = replace(request, method="POST", headers=headers, body=body, secrets=(secret,))
        return self._ask(request, place.dialect.remedy(place.registry))

    def _ask(self, request: Request, remedy: str) -> TokenAnswer:
        answer = self._send(request)
        if answer.status != 200:
            raise http_error(answer, request, remedy)
        try:
            return msgspec.json.decode(answer.body, type=TokenAnswer)
        except UNREADABLE:  # their text may contain a part of a token
            raise Malformed("token", f"{request.doing}: the response of {request.target.server} has no token") from None

    def _password(self, registry: RegistryRule) -> tuple[str, tuple[str, ...]]:
        """The header of Basic authentication, and the values that no error may contain."""
        user, password = self._secrets.credentials(registry)
        encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
        return f"Basic {encoded}", (password, encoded)


def _scope(place: Place, asked: str) -> str:
    """The scope to request: that of the challenge if it is read-only, unless the dialect overrides it."""
    own = f"repository:{place.path}:"
    if place.dialect.actions:
        return own + place.dialect.actions
    actions = asked.rpartition(":")[2].split(",") if ":" in asked else ()
    return asked if asked and " " not in asked and _READING.issuperset(actions) else f"{own}pull"
