"""Sprig's functions for texts and numbers.

Source: https://masterminds.github.io/sprig/
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import posixpath
import random
import re
import secrets
import string
import textwrap
import uuid
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from sandbox.tasks.taskfile.gotemplate.formatting import quoted
from sandbox.tasks.taskfile.gotemplate.functions import Function
from sandbox.tasks.taskfile.gotemplate.values import Int64, TemplateError, bounded, int64, text_of, texts, type_name

_LONGEST = 1_000
_MOST_WRAPPED = 10**9


def to_integer(value: object) -> Int64:
    """Sprig's int64: 0 for what is no number."""
    if isinstance(value, str):
        return int64(int(value)) if re.fullmatch(r"[+-]?[0-9]{1,19}", value) else Int64(0)
    return int64(int(value)) if isinstance(value, int | float) and math.isfinite(value) else Int64(0)


def to_float(value: object) -> float:
    """Sprig's float64: 0 for what is no number."""
    try:
        return float(value) if isinstance(value, str | int | float) and value != "" else 0.0
    except ValueError:
        return 0.0


def b64encode(value: object) -> str:
    """acr-builder's own b64enc: a nil is empty, and what is no string is encoded as the name of its type."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else f"<{type_name(value)} Value>"
    return base64.b64encode(text.encode()).decode()


def _decoded(decode: Callable[..., bytes]) -> Callable[[str], str]:
    def decoded(text: str) -> str:
        try:
            return decode(text).decode(errors="replace")
        except (binascii.Error, ValueError):
            return "illegal base64 data at input byte 0"  # Sprig returns the error's text as the value

    return decoded


def _limited(count: int) -> int:
    if count > _LONGEST:
        raise TemplateError(f"a count of more than {_LONGEST} is refused here")
    return count


def _repeat(count: int, text: str) -> str:
    if count < 0:
        raise TemplateError("negative Repeat count")
    bounded(len(text) * count)
    return text * count


def _indent(spaces: int, text: str) -> str:
    bounded(max(spaces, 0) * (text.count("\n") + 1))
    pad = " " * spaces
    return pad + text.replace("\n", f"\n{pad}")


def _replaced(old: str, new: str, text: str) -> str:
    bounded(len(text) + text.count(old) * len(new))
    return text.replace(old, new)


def _truncated(count: int, text: str) -> str:
    data = text.encode()
    if count < 0 <= len(data) - 1:
        raise TemplateError("slice bounds out of range")
    return data[:count].decode(errors="replace") if len(data) > count else text


def _part(start: int, end: int, text: str) -> str:
    data = text.encode()
    if start < 0:
        return _bytes(data, 0, end)
    return _bytes(data, start, len(data) if end < 0 or end > len(data) else end)


def _bytes(data: bytes, start: int, end: int) -> str:
    if not 0 <= start <= end <= len(data):
        raise TemplateError("slice bounds out of range")
    return data[start:end].decode(errors="replace")


def _abbreviated(width: int, text: str) -> str:
    return text if width < 4 or len(text) <= width else text[: width - 3] + "..."


def _title(text: str) -> str:
    return re.sub(r"(?<![\w'])\w|(?<=\s)\w", lambda match: match[0].upper(), text)


def _initials(text: str) -> str:
    return "".join(word[0] for word in text.split())


def _words(text: str) -> list[str]:
    return re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+", text)


def _camel(text: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[_\-\s]+", text))


def _random(alphabet: str) -> Function:
    return Function(lambda count: "".join(secrets.choice(alphabet) for _ in range(_limited(count))), "i")


def _division(divide: Callable[[int, int], int]) -> Callable[[object, object], Int64]:
    def divided(first: object, other: object) -> Int64:
        if not to_integer(other):
            raise TemplateError("integer divide by zero")
        return int64(divide(to_integer(first), to_integer(other)))

    return divided


def _quotient(first: int, other: int) -> int:
    return abs(first) // abs(other) * (1 if (first < 0) == (other < 0) else -1)  # Go truncates towards zero


def _remainder(first: int, other: int) -> int:
    return first - other * _quotient(first, other)


def _product(first: object, *others: object) -> Int64:
    result = to_integer(first)
    for other in others:
        result = int64(result * to_integer(other))
    return result


def _round(value: object, places: int, at: float = 0.5) -> float:
    power = 10.0 ** min(places, 300)
    digit = power * to_float(value)
    fraction = math.modf(digit)[0]
    return (math.ceil(digit) if fraction >= at else math.floor(digit)) / power


def _octal(value: object) -> Int64:
    text = text_of(value)
    return int64(int(text, 8)) if re.fullmatch("[+-]?[0-7]{1,20}", text) else Int64(0)


def _base(path: str) -> str:
    trimmed = path.rstrip("/")
    return trimmed.rpartition("/")[2] or ("/" if path else ".")


def _extension(path: str) -> str:
    name = path.rpartition("/")[2]
    return f".{name.rpartition('.')[2]}" if "." in name else ""


def _clean(path: str) -> str:
    return re.sub("^//", "/", posixpath.normpath(path)) if path else "."


def _url(text: str) -> dict[str, Any]:
    url = urlsplit(text)
    user, _, host = url.netloc.rpartition("@")
    parts = {"scheme": url.scheme, "host": host, "hostname": host.rpartition(":")[0] or host, "path": url.path}
    return {**parts, "query": url.query, "fragment": url.fragment, "userinfo": user, "opaque": ""}


def _wrapped(width: int, separator: str, text: str) -> str:
    bounded(len(text) * (len(separator) + 1))
    if len(text) ** 2 // max(width, 1) > _MOST_WRAPPED:
        raise TemplateError("so long a text in so short lines is refused here")
    lines = textwrap.wrap(text, max(width, 1), break_long_words=True, break_on_hyphens=False)
    return separator.join(lines)


def _quote_all(write: Callable[[object], str]) -> Callable[..., str]:
    return lambda *values: " ".join(write(value) for value in values if value is not None)


SPRIG_TEXT = {
    "abbrev": Function(_abbreviated, "is"),
    "add": Function(lambda *values: int64(sum(map(to_integer, values))), "*a"),
    "add1": Function(lambda value: int64(to_integer(value) + 1), "a"),
    "adler32sum": Function(lambda text: str(zlib.adler32(text.encode())), "s"),
    "atoi": Function(lambda text: int(to_integer(text)), "s"),
    "b32dec": Function(_decoded(base64.b32decode), "s"),
    "b32enc": Function(lambda text: base64.b32encode(text.encode()).decode(), "s"),
    "b64dec": Function(_decoded(lambda text: base64.b64decode(text, validate=True)), "s"),
    "b64enc": Function(b64encode, "a"),
    "base": Function(_base, "s"),
    "biggest": Function(lambda *values: max(map(to_integer, values)), "a*a"),
    "camelcase": Function(_camel, "s"),
    "cat": Function(lambda *values: " ".join(texts(values)), "*a"),
    "ceil": Function(lambda value: float(math.ceil(to_float(value))), "a"),
    "clean": Function(_clean, "s"),
    "contains": Function(lambda part, text: part in text, "ss"),
    "dir": Function(lambda path: _clean(path.rpartition("/")[0] + ("/" if path.startswith("/") else "")), "s"),
    "div": Function(_division(_quotient), "aa"),
    "ext": Function(_extension, "s"),
    "float64": Function(to_float, "a"),
    "floor": Function(lambda value: float(math.floor(to_float(value))), "a"),
    "hasPrefix": Function(lambda part, text: text.startswith(part), "ss"),
    "hasSuffix": Function(lambda part, text: text.endswith(part), "ss"),
    "hello": Function(lambda: "Hello!", ""),
    "indent": Function(_indent, "is"),
    "initials": Function(_initials, "s"),
    "int": Function(lambda value: int(to_integer(value)), "a"),
    "int64": Function(to_integer, "a"),
    "isAbs": Function(lambda path: path.startswith("/"), "s"),
    "kebabcase": Function(lambda text: "-".join(_words(text)).lower(), "s"),
    "lower": Function(lambda text: text.lower(), "s"),
    "max": Function(lambda *values: max(map(to_integer, values)), "a*a"),
    "min": Function(lambda *values: min(map(to_integer, values)), "a*a"),
    "mod": Function(_division(_remainder), "aa"),
    "mul": Function(_product, "a*a"),
    "nindent": Function(lambda spaces, text: "\n" + _indent(spaces, text), "is"),
    "nospace": Function(lambda text: "".join(text.split()), "s"),
    "plural": Function(lambda one, many, count: one if count == 1 else many, "ssi"),
    "quote": Function(_quote_all(lambda value: quoted(text_of(value))), "*a"),
    "randAlpha": _random(string.ascii_letters),
    "randAlphaNum": _random(string.ascii_letters + string.digits),
    "randAscii": _random("".join(map(chr, range(32, 127)))),
    "randNumeric": _random(string.digits),
    "repeat": Function(_repeat, "is"),
    "replace": Function(_replaced, "sss"),
    "round": Function(_round, "ai*f"),
    "sha1sum": Function(lambda text: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), "s"),
    "sha256sum": Function(lambda text: hashlib.sha256(text.encode()).hexdigest(), "s"),
    "shuffle": Function(lambda text: "".join(random.sample(text, len(text))), "s"),
    "snakecase": Function(lambda text: "_".join(_words(text)).lower(), "s"),
    "squote": Function(_quote_all(lambda value: f"'{text_of(value)}'"), "*a"),
    "sub": Function(lambda first, other: int64(to_integer(first) - to_integer(other)), "aa"),
    "substr": Function(_part, "iis"),
    "swapcase": Function(lambda text: text.swapcase(), "s"),
    "title": Function(_title, "s"),
    "toDecimal": Function(_octal, "a"),
    "toString": Function(text_of, "a"),
    "trim": Function(lambda text: text.strip(), "s"),
    "trimAll": Function(lambda marks, text: text.strip(marks) if marks else text, "ss"),
    "trimPrefix": Function(lambda part, text: text.removeprefix(part), "ss"),
    "trimSuffix": Function(lambda part, text: text.removesuffix(part), "ss"),
    "trimall": Function(lambda marks, text: text.strip(marks) if marks else text, "ss"),
    "trunc": Function(_truncated, "is"),
    "untitle": Function(lambda text: re.sub(r"(?<!\S)\w", lambda match: match[0].lower(), text), "s"),
    "upper": Function(lambda text: text.upper(), "s"),
    "urlParse": Function(_url, "s"),
    "uuidv4": Function(lambda: str(uuid.uuid4()), ""),
    "wrap": Function(lambda width, text: _wrapped(width, "\n", text), "is"),
    "wrapWith": Function(_wrapped, "iss"),
}
