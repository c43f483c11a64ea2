"""What a registry asks for: the WWW-Authenticate header, read strictly.

Source: https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1 and
https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from shared.domain.errors import Malformed, Misconfigured

_LIMIT = 8 * 1024
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105
_SCHEME = re.compile(rf"({_TOKEN})(?: +|(?=,|\Z))")
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:({_TOKEN})|"((?:[ !#-\[\]-~]|\\[ -~])*)")[ \t]*(?=,|\Z)')
_BETWEEN = re.compile(r"[ \t,]*")
_QUOTED_PAIR = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """`scheme` is `bearer` or `basic`; the rest is what a bearer challenge says, "" where it does not."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


def parse_challenge(header: str, whose: str) -> Challenge:
    """The challenge to answer: a bearer one if there is one, else a basic one.

    Args:
        header: its value, several headers joined by a comma.
        whose: the repository with its registry, for the error.

    Raises:
        Malformed: the header is missing or does not follow the grammar.
        Misconfigured: it asks for something else, e.g. Negotiate.
    """
    if not header or len(header) > _LIMIT:
        raise Malformed("WWW-Authenticate", f"{whose} answers 401 and does not say in it how to authenticate")
    challenges = dict(_challenges(header, whose))
    if (bearer := challenges.get("bearer")) is not None:
        if not bearer.get("realm"):
            raise Malformed("WWW-Authenticate", f"{whose} asks for a token and gives no realm to get it from")
        return Challenge("bearer", bearer["realm"], bearer.get("service", ""), bearer.get("scope", ""))
    if "basic" in challenges:
        return Challenge("basic")
    raise Misconfigured(
        f"{whose} asks for {', '.join(challenges)[:80]}: a registry that takes a token or Basic is needed"
    )


def _challenges(header: str, whose: str) -> Iterator[tuple[str, dict[str, str]]]:
    scheme, parameters = "", dict[str, str]()
    place = _after(_BETWEEN, header, 0)
    while place < len(header):
        if scheme and (found := _PARAMETER.match(header, place)):
            name = found[1].lower()
            if name in parameters:
                raise Malformed("WWW-Authenticate", f"{whose} says {name[:40]} twice")
            parameters[name] = found[2] if found[2] is not None else _QUOTED_PAIR.sub(r"\1", found[3])
        elif found := _SCHEME.match(header, place):
            if scheme:
                yield scheme, parameters
            scheme, parameters = found[1].lower(), {}
        else:
            raise Malformed("WWW-Authenticate", f"{whose} sends a header that cannot be read")
        place = _after(_BETWEEN, header, found.end())
    if scheme:
        yield scheme, parameters


def _after(pattern: re.Pattern[str], text: str, place: int) -> int:
    found = pattern.match(text, place)
    return found.end() if found else place
