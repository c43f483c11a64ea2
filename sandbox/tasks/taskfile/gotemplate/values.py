"""Go's values in Python: nil is None, a map is a dict, a slice is a list.

An `Int64` is what Sprig's arithmetic returns; Go refuses it where an int is expected. A `Secret` is a string that must
appear in no error; a text that a function makes of one is a secret, too.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

_LARGEST_VALUES, _DEEPEST = 10_000, 50
LARGEST_TEXT_CHARACTERS = 1024 * 1024
_NO_EXPONENT = range(-4, 6)  # the exponents at which Go's %v writes a float without one


class TemplateError(ValueError):
    """A template cannot be parsed or executed. `offset` is the place in its text, in characters."""

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset


class Secret(str):
    """A secret text."""

    __slots__ = ()


class Int64(int):
    """An int64: the result of Sprig's arithmetic."""

    __slots__ = ()


def int64(number: int) -> Int64:
    """The number, wrapped around as 64 bits do."""
    return Int64((int(number) + 2**63) % 2**64 - 2**63)


def weight(value: object) -> int:
    """How much work a value is: the number of values in it, and one for each 1,000 characters.

    Go has no limits; without these a template of a few lines could take all memory or time of this machine.

    Raises:
        TemplateError: for more than 10,000 values, 1 Mi characters or 50 levels.
    """
    count, characters = 0, 0
    pending = [(value, 0)]
    while pending:
        item, depth = pending.pop()
        count += 1
        characters += len(item) if isinstance(item, str) else 0
        if count > _LARGEST_VALUES or depth > _DEEPEST:
            raise TemplateError(f"more than {_LARGEST_VALUES} entries, or {_DEEPEST} levels, are refused here")
        bounded(characters)
        parts = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        pending.extend((part, depth + 1) for part in parts)
    return count + characters // 1000


def bounded(characters: int) -> None:
    """Raise `TemplateError` for a text of more than 1 Mi characters, before it is made."""
    if characters > LARGEST_TEXT_CHARACTERS:
        raise TemplateError("a text of more than 1 Mi characters is refused here")


def character(code: int) -> str:
    """The character of a code, as Go writes it: a half of a pair is none. Raises `ValueError` beyond Unicode."""
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else chr(code)


def is_secret(value: object) -> bool:
    """Whether a value is or contains a secret."""
    if isinstance(value, dict):
        return any(map(is_secret, value.values()))
    return any(map(is_secret, value)) if isinstance(value, list) else isinstance(value, Secret)


def marked(value: object) -> object:
    """The value with each text in it as a secret."""
    if isinstance(value, dict):
        return {key: marked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [marked(item) for item in value]
    return Secret(value) if isinstance(value, str) else value


def truth(value: object) -> bool:
    """Go's truth: empty values are false, every time is true."""
    return bool(value)


def kind(value: object) -> str:
    """The kind of a value, in Go's words."""
    if value is None:
        return "invalid"
    kinds: tuple[tuple[type, str], ...] = (
        (bool, "bool"), (str, "string"), (Int64, "int64"), (int, "int"), (float, "float64"), (dict, "map"),
        (list, "slice"), (datetime, "struct"),
    )  # fmt: skip
    return next(name for known, name in kinds if isinstance(value, known))


def type_name(value: object) -> str:
    """The type of a value, in Go's words."""
    names = {"invalid": "<nil>", "map": "map[string]interface {}", "slice": "[]interface {}", "struct": "time.Time"}
    return names.get(kind(value), kind(value))


def text_of(value: object) -> str:
    """A value as Go's %v prints it."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, list):
        return f"[{' '.join(map(text_of, value))}]"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{text_of(value[key])}' for key in sorted(value))}]"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S.%f %z %Z}"
    return str(value)


def float_text(number: float) -> str:
    """A float as Go's %v prints it: the shortest text that reads as the same number."""
    if math.isinf(number) or math.isnan(number):
        return "NaN" if math.isnan(number) else "+Inf" if number > 0 else "-Inf"
    sign, digits, exponent = _decimal(number)
    point = exponent + 1  # digits before the point
    if exponent not in _NO_EXPONENT:
        fraction = f".{digits[1:]}" if digits[1:] else ""
        return f"{sign}{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    whole, fraction = digits[:point].ljust(point, "0"), digits[point:]
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def _decimal(number: float) -> tuple[str, str, int]:
    mantissa, _, exponent = f"{number!r}e".partition("e")
    sign, mantissa = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    zeros = len(whole + fraction) - len(digits)
    power = int(exponent.rstrip("e") or 0) + len(whole) - 1 - zeros
    return (sign, digits.rstrip("0") or "0", power) if digits else (sign, "0", 0)


def json_of(value: object, *, pretty: bool = False) -> str:
    """A value as Go's encoding/json writes it: sorted keys, no spaces, `<`, `>` and `&` escaped."""
    layout: dict[str, Any] = {"indent": 2} if pretty else {"separators": (",", ":")}
    text = json.dumps(_whole(value), sort_keys=True, ensure_ascii=False, default=text_of, **layout)
    return re.sub("[<>&\u2028\u2029]", lambda mark: f"\\u{ord(mark[0]):04x}", text)


def _whole(value: object) -> object:
    """The value with floats that are whole numbers as integers: Go's encoding/json writes no `.0`."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e21 else value


def entries(value: object) -> Iterator[tuple[object, object]]:
    """What `range` goes through: pairs of index or key, and value. Raises `TemplateError` for what it cannot."""
    if isinstance(value, dict):
        yield from ((key, value[key]) for key in sorted(value))
    elif isinstance(value, list):
        yield from enumerate(value)
    elif kind(value) in ("int", "int64"):
        yield from ((number, number) for number in range(int(str(value))))
    elif value is not None:
        raise TemplateError(f"range can't iterate over {type_name(value)}")


def texts(values: Iterable[object]) -> list[str]:
    """The values as texts, without nils."""
    return [text_of(value) for value in values if value is not None]
