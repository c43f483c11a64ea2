"""Removes secrets, and characters that mislead readers, from messages and logs.

Every expression runs in linear time: a log has up to 1 MB.
"""

import base64
import json
import re
from collections.abc import Collection
from urllib.parse import quote

_MESSAGE_LIMIT = 300

_IS = r"""(?:\\*["'])?\s*[=:]\s*"""
_QUOTED = r"""\\+["'][^\n"']*["']?|"(?:[^"\\\n]|\\.)*"?|'[^'\n]*'?"""
"""In quotes, which may be escaped, and may be unclosed: services truncate messages."""

_VALUE = rf"""(?:{_QUOTED}|[^\s&"',;]+)"""
_NAMED = re.compile(
    r"((?:passw(?:or)?d|passphrase|client_?secret|(?<=[_-])(?:pwd|secret|token|key)|(?:access|refresh|id|auth)_?token"
    rf"|AccountKey|SharedAccess(?:Key|Signature)|api_?key){_IS})" + _VALUE,
    re.IGNORECASE,
)
"""`DB_PASSWORD=…`, `"client_secret": "…"`, `AccountKey=…;`: the name stays, the value goes, with spaces if quoted."""

_OPTION = re.compile(r"(--?(?:password|passphrase|token|secret|api-?key|access-?key)[ =]+)" + _VALUE, re.IGNORECASE)
_LOGIN = re.compile(r"(\b(?:login|sshpass|mysql\w*|mariadb\w*)\b[^\n]{0,200}?\s-p[ =]?)" + _VALUE)
"""`docker login -u me -p …`, `mysql -u root -phunter2`: any value, with or without a space, is a password."""

_PORTS = r"[\d.:-]+(?:/(?:tcp|udp))?(?![^\s\"'])"
_SHORT_OPTION = re.compile(rf"((?<!\bmkdir)(?<!\bcp)\s-p[ =]+)(?![-./~$]|{_PORTS}){_VALUE}")
"""`-p …` of any other program, except ports, paths, and the arguments of `mkdir` and `cp`."""

_USER_OPTION = r"(?:\s-[a-zA-Z]{0,5}u|--user|--proxy-user|--(?:src-|dest-)?creds)[ =]+[\"']?"
_USER = re.compile(rf"({_USER_OPTION}[^\s:\"'&]+:)(?!{_PORTS})(?:{_QUOTED}|[^\s\"']+)")
"""`curl -u me:…`, `skopeo copy --src-creds me:…`; two numbers are a user and a group."""

_AUTHORIZATION = re.compile(rf"\b((?:Proxy-)?Authorization{_IS})(?:{_QUOTED}|[^\n]+)", re.IGNORECASE)
_SCHEME = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9+/=._~%-]{16,}", re.IGNORECASE)
_JWT = re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?:(?!-----END)[\s\S]){0,20000}(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?"
)
_PARAMETER = re.compile(r"(\bsig|(?<=[?&])code)=[^\s&\"'<>]+", re.IGNORECASE)
_URL_USER = re.compile(r"(?<=://)[^\s/?#@\"'<>]+@")
_QUERY = re.compile(r"[?#][\w.$%~-]+=[^\s\"'<>]*")
_CODE = re.compile(r"\bcode=[^\s&\"'<>]+", re.IGNORECASE)

_SHORTEST_VALUE = 6  # shorter ones are not secrets, and occur in many words of a log

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[ -/]*[0-~])?")
"""ECMA-48: control sequences (colours, cursor), operating system commands (titles, links), and the short ones."""

_TRICKS = re.compile(r"[\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")
"""Bidirectional controls and zero-width characters: https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing"""


def readable(message: str, values: Collection[str] = ()) -> str:
    """The first line of a service's message, truncated for a record, without secrets."""
    first = next(iter(without_values(_plain(message), values).strip().splitlines()), "")
    first = _CODE.sub("code=***", _QUERY.sub("", _URL_USER.sub("", first)))
    return without_secrets(first)[:_MESSAGE_LIMIT]


def without_secrets(text: str, values: Collection[str] = ()) -> str:
    """A text, such as a log, in which everything that looks like a secret, or is one of `values`, is replaced by ***.

    Terminal controls and misleading characters are removed first: they may be within a secret.
    """
    text = without_values(_plain(text), values)
    text = _PARAMETER.sub(r"\1=***", _URL_USER.sub("", text))
    text = _PRIVATE_KEY.sub(lambda found: "\n".join(["***"] * (found[0].count("\n") + 1)), text)
    text = _JWT.sub("***", _AUTHORIZATION.sub(r"\1***", text))
    for secret in (_NAMED, _OPTION, _LOGIN, _SHORT_OPTION, _USER):
        text = secret.sub(r"\1***", text)
    return _SCHEME.sub(r"\1 ***", text)


def without_tricks(text: str) -> str:
    """A text without bidirectional controls and zero-width characters."""
    return _TRICKS.sub("", text)


def _plain(text: str) -> str:
    return _ESCAPES.sub("", without_tricks(text))


def without_values(text: str, values: Collection[str]) -> str:
    """A text without some values, line by line: verbatim, quoted for a URL or in JSON, in base64.

    The beginning of a value at the end of the text is removed, too: a log may still be written.
    """
    lines = (line.strip() for value in values for line in value.splitlines())
    found = {form for line in lines if len(line) >= _SHORTEST_VALUE for form in _forms(line)}
    for form in sorted(found, key=len, reverse=True):  # one value may be a part of another
        text = text.replace(form, "***")
        begun = next((n for n in range(len(form) - 1, _SHORTEST_VALUE - 1, -1) if text.endswith(form[:n])), 0)
        text = f"{text[:-begun]}***" if begun else text
    return text


def _forms(value: str) -> set[str]:
    """A value, quoted for a URL and in JSON, and its base64 at any byte offset, as within `user:password`."""
    raw = value.encode()
    encoded = (base64.b64encode(bytes(n) + raw).decode()[n + (n > 0) : (n + len(raw)) * 4 // 3] for n in range(3))
    return {value, quote(value, safe=""), json.dumps(value)[1:-1], base64.b64encode(raw).decode(), *encoded}
